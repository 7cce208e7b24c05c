//! The launcher as a program of its own, for tests and benches; the `pileus` binary holds the same one.

fn main() {
    pileus_sandbox::launcher_main();
    eprintln!("pileus-launcher: started by the engine only");
}
