use std::{
    io::{self, BufWriter, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{
    history::HistoryOut,
    inspect::{MAX_LINE, read_line},
};
use crate::{
    capture::FlowKey,
    config::Config,
    daemon::clients_of_files,
    event::Event,
    fingerprint_key, keyring,
    pipeline::{Assessed, Assessment, Output, Pipeline, Settings},
    policy::{Enforcement, Verdict},
    score::input::Described,
    services::Services,
    time::Time,
    trust,
};

/// Score HTTP requests: one JSON object a line on standard input, one a line on standard output.
///
/// A request is `{"method", "path", "headers", "body", "client_ip", "time"}`; `path` is the request
/// target with its query, `headers` an object or a list of pairs; only `path` has to be there.
/// The lines are taken for one history, in their order.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    echo '{\"path\":\"/items?id=1%27+or+1=1--\"}' | jotwatch score\n  \
    jotwatch score --config jotwatch.toml < requests.jsonl | jq -c 'select(.verdict != \"allow\")'")]
pub(super) struct Arguments {
    /// A payload model in the place of the one that is built in.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Configuration file, for issuers, services and rules; without it the built-in defaults hold.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also write the scored requests of subjects there, as the daemon keeps them for `jotwatch
    /// train`; what the file held is lost.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = match &arguments.config {
        Some(path) => crate::config::load(path)?,
        None => Config::default(),
    };
    let mut pipeline = pipeline(arguments, &config)?;
    let history = HistoryOut::create(arguments.history.as_deref(), &config.scoring.history)?;
    let mut scored = Scored { history };
    let mut input = io::stdin().lock();
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut line, mut bad) = (Vec::new(), 0_u64);
    for number in 1_u64.. {
        if !read_line(&mut input, &mut line)? {
            break;
        }
        let answer = match describe(&line) {
            Ok(described) => score(&mut pipeline, number, described, &mut scored),
            Err(error) => {
                bad += 1;
                json!({ "line": number, "error": error })
            }
        };
        serde_json::to_writer(&mut out, &answer)?;
        out.write_all(b"\n")?;
        // Somebody may be waiting for it.
        out.flush()?;
    }
    scored.history.map(HistoryOut::finish).transpose()?;
    anyhow::ensure!(bad == 0, "{bad} lines are no requests");
    Ok(())
}

fn pipeline(arguments: &Arguments, config: &Config) -> anyhow::Result<Pipeline> {
    let mut settings = Settings::new(config, fingerprint_key::REPLAY, fingerprint_key::REPLAY_SALT);
    settings.enforcement = Enforcement { replay: true, ..config.enforcement.resolve() }.into();
    let mut scoring = config.scoring.clone();
    scoring.enabled = true;
    if arguments.model.is_some() {
        scoring.payload_model_file.clone_from(&arguments.model);
    }
    let mut pipeline = Pipeline::new(settings.with_models(scoring.models()?));
    pipeline.lists().allowed.configure(config.enforcement.allow.resolve());
    let (keys, warnings) = keyring::load_files(&config.issuers)?;
    for warning in warnings {
        let _ = writeln!(io::stderr(), "jotwatch: {warning}");
    }
    pipeline.serve(Services::load(&config.services)?.into());
    pipeline.locate(clients_of_files(config)?.into());
    pipeline.trust(trust::store(&keys).into(), trust::policy(&config.issuers).into());
    Ok(pipeline)
}

fn describe(line: &[u8]) -> Result<Described, String> {
    if line.len() as u64 > MAX_LINE {
        return Err(format!("a line of more than {MAX_LINE} bytes"));
    }
    // What serde_json says of bad input shows where, and nothing of the input.
    let value: Value = serde_json::from_slice(line).map_err(|error| format!("no JSON: {error}"))?;
    let now = Time::EPOCH + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Described::from_json(&value, now).map_err(|error| error.to_string())
}

fn score(pipeline: &mut Pipeline, number: u64, described: Described, scored: &mut Scored) -> Value {
    /// Nobody: those who are not told apart.
    const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let Described { request, client } = described;
    let client = SocketAddr::new(client.unwrap_or(NOBODY), 0);
    let flow = FlowKey { client, server: SocketAddr::new(NOBODY, 0), scope: 0 };
    let Assessment { score, verdict, findings } = pipeline.describe(&flow, request, scored);
    let verdict = match verdict {
        Verdict::Allow | Verdict::Spared { .. } => "allow",
        Verdict::Alert => "alert",
        Verdict::Kill { .. } => "block",
    };
    let reasons = score.reasons().iter().map(|reason| {
        json!({
            "source": reason.source.as_str(),
            "id": reason.id,
            "score": reason.score,
            "detail": reason.detail,
        })
    });
    let findings = findings.iter().map(|finding| {
        json!({
            "id": finding.id.as_str(),
            "severity": finding.severity.as_str(),
            "detail": crate::redact::text(&finding.detail),
        })
    });
    let mut line = json!({
        "line": number,
        "score": score.value,
        "verdict": verdict,
        "reasons": reasons.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    });
    if let (Some(members), Some(profile)) = (line.as_object_mut(), score.profile) {
        members.insert("profile".to_owned(), profile.as_str().into());
    }
    line
}

/// Takes what was scored; events are not asked for.
struct Scored {
    history: Option<HistoryOut>,
}

impl Output for Scored {
    fn event(&mut self, _: Event) {}

    fn wants_assessed(&self) -> bool {
        self.history.is_some()
    }

    fn assessed(&mut self, assessed: &Assessed<'_>) {
        if let Some(history) = &mut self.history {
            history.take(assessed);
        }
    }
}
