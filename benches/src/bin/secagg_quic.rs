//! A whole aggregation round between parties that talk QUIC on loopback, keys dealt ahead: real
//! sockets, real handshakes, wall time. The limit is the same vectors sent plainly over the same
//! connections.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tacit_benches::case::{Case, median};
use tacit_benches::mesh::{AnyError, Mesh};
use tacit_crypto::{Rng, SealKey, Secret};
use tacit_protocol::{Audience, Disclosure, Party};
use tacit_secagg::{Delivery, Params, Plan, Round, Slots, Source, Width};
use tacit_types::{Fault, Hash, Seat};

#[derive(Parser)]
struct Arguments {
    /// JSON lines.
    #[arg(long)]
    json: bool,
    /// A tenth of the elements.
    #[arg(long)]
    quick: bool,
}

const PARTIES: usize = 10;
const ROUNDS: u16 = 9;

fn main() -> ExitCode {
    // As the product's programs do.
    tacit_protocol::keep_chunk_memory();
    let arguments = Arguments::parse();
    let d = if arguments.quick { 100_000 } else { 1_000_000 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(AnyError::from).and_then(|runtime| runtime.block_on(bench(d, arguments.json))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("secagg_quic: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(d: usize, json: bool) -> Result<(), AnyError> {
    let mesh = Mesh::connect(PARTIES).await?;
    let vectors: Vec<_> = (1..PARTIES).map(|seat| (seat, 0, d as u64 * 4)).collect();
    let plain = mesh.plain(&vectors).await?;
    let (seconds, bytes_up) = aggregate(&mesh, d).await?;
    let case = Case {
        case: format!("secagg_quic_{PARTIES}x{d}"),
        n: PARTIES,
        d,
        parties: PARTIES,
        seconds,
        bytes_sent: bytes_up,
        rounds: 4,
        limit_seconds: plain,
        samples: usize::from(ROUNDS) - 1,
        note: format!(
            "wall time of a round on the machine's cores, all {PARTIES} parties in this process; bytes are one party's; \
             {:.4} of the vector; the limit is the same vectors sent plainly",
            bytes_up as f64 / (d * 4) as f64
        ),
        ..Case::default()
    };
    case.print(json);
    Ok(())
}

/// Median seconds of a round at the aggregator, and the bytes that one party sends in it.
async fn aggregate(mesh: &Mesh, d: usize) -> Result<(f64, u64), AnyError> {
    let disclosure = Disclosure { what: "sum".into(), to: Audience::Recipient, cells_max: u64::MAX };
    // The sum goes to a recipient without a seat: the aggregator ends with a vector that it cannot read.
    let recipient = SealKey::generate(&mut Rng::from_seed(&Secret::new([9; 32]))).public();
    let protocol = |mut party: Party| {
        let disclosure = disclosure.clone();
        async move {
            let params = Params::new(PARTIES as u16)?;
            let plan = Plan {
                params,
                context: Hash([3; 32]),
                rounds: ROUNDS,
                aggregator: Seat(0),
                step_ms: 30_000,
                step_base: 1,
            };
            let mut epoch = tacit_secagg::setup(&mut party, &plan).await?;
            let mut ends = Vec::new();
            for index in 0..ROUNDS {
                let round = Round {
                    index,
                    query: Hash([index as u8; 32]),
                    model_root: None,
                    width: Width::W32,
                    len: d,
                    delivery: Delivery::Recipient { key: recipient, disclosure: disclosure.clone() },
                };
                let outcome = tacit_secagg::aggregate(&mut party, &mut epoch, &round, Ones(d)).await?;
                ends.push(Instant::now());
                assert_eq!(outcome.survivors.len(), PARTIES);
                assert_eq!(outcome.blinded.is_some(), party.seat() == Seat(0));
            }
            Ok(ends)
        }
    };
    let outcomes = mesh.run(std::slice::from_ref(&disclosure), protocol).await?;
    let rounds = outcomes[0].0.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect();
    Ok((median(rounds), outcomes[1].1 / u64::from(ROUNDS)))
}

/// A vector of ones.
struct Ones(usize);

impl Source for Ones {
    fn width(&self) -> Width {
        Width::W32
    }

    fn len(&self) -> usize {
        self.0
    }

    fn fill(&mut self, _: usize, out: Slots<'_>) -> Result<(), Fault> {
        if let Slots::W32(out) = out {
            out.fill(1);
        }
        Ok(())
    }
}
