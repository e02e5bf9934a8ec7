//! What an instance promises, tried on the machine. Needs root; see `Requirements`.

mod life;

use std::{net::IpAddr, process::ExitCode};

use lab::{Instance, InstanceSpec, Lab, LabOptions, RunId};
use libtest_mimic::{Arguments, Failed, Trial};

type Outcome = Result<(), Failed>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    life::add(&mut trials);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// One named test on a runtime of its own.
fn trial<F: Future<Output = Outcome>>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(test())
    })
}

/// Addresses of the upstream side that no machine's own network has.
fn upstream_addresses() -> [IpAddr; 2] {
    [IpAddr::from([198, 51, 100, 1]), "fd99::1".parse().expect("an address")]
}

async fn open_lab() -> Result<Lab, Failed> {
    Ok(Lab::open(LabOptions::new(RunId::fresh()?)).await?)
}

async fn start_instance(lab: &Lab, name: &str) -> Result<Instance, Failed> {
    Ok(lab.instance(&InstanceSpec::new(name, upstream_addresses())).await?)
}
