//! `bifrost-control`: the control plane alone, as deployed.

use clap::Parser;

fn main() -> anyhow::Result<()> {
    let arguments = control_plane::Arguments::parse();
    let vars = kit::Vars::from_process();
    kit::telemetry::init_logs(vars.text("BIFROST_LOG").unwrap_or("info"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(control_plane::run(arguments, vars))
}
