//! The `micro` command.

fn main() -> std::process::ExitCode {
    micro::main()
}
