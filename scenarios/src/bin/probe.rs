//! The program in a job container that does on the network what a scenario tells it.

fn main() -> std::process::ExitCode {
    scenarios::probe::ambient::run()
}
