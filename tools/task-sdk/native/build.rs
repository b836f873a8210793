//! Links the tasks to the slot that `micro image` names.

fn main() {
    app_layout::link();
}
