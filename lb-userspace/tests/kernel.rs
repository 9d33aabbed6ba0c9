//! scratch
use aya::{
    EbpfLoader,
    programs::{ProgramError, SchedClassifier, Xdp},
};
#[test]
fn verifier_accepts() {
    let obj = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/lb-ebpf")).unwrap();
    let mut e =
        EbpfLoader::new().verifier_log_level(aya::VerifierLogLevel::STATS).load(&obj).unwrap();
    {
        let p: &mut Xdp = e.program_mut("weir_xdp").unwrap().try_into().unwrap();
        show("xdp", p.load());
        if let Ok(i) = p.info() {
            println!(
                "xdp verified {:?} jited {:?} xl {:?}",
                i.verified_instruction_count(),
                i.size_jitted(),
                i.size_translated()
            );
        }
    }
    let p: &mut SchedClassifier = e.program_mut("weir_tc").unwrap().try_into().unwrap();
    show("tc", p.load());
    if let Ok(i) = p.info() {
        println!("tc verified {:?} jited {:?}", i.verified_instruction_count(), i.size_jitted());
    }
}
fn show(n: &str, r: Result<(), ProgramError>) {
    match r {
        Ok(()) => println!("{n} ok"),
        Err(ProgramError::LoadError { io_error, verifier_log }) => {
            let l = verifier_log.to_string();
            let lines: Vec<&str> = l.lines().collect();
            println!(
                "{n} {io_error} {} lines\n{}",
                lines.len(),
                lines[lines.len().saturating_sub(60)..].join("\n")
            )
        }
        Err(e) => println!("{n} {e:?}"),
    }
}
