//! The `micro` command as the whole-system tests run it.

fn main() -> std::process::ExitCode {
    micro::main()
}
