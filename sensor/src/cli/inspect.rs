use std::{
    fs,
    io::{self, BufRead, BufWriter, Read as _, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    finding::{Finding, FindingId},
    keys::{KeySource, KeyStore, MAX_KEY_SET_BYTES, parse_keys},
    show::show,
    time::Time,
    token::{
        DecodeOptions, decode, hmac_sample,
        validate::{IssuerPolicy, Policy, Validation, Verdict},
    },
    weak::WeakSecrets,
};

/// Bytes of one line that are read; a longer one is reported and passed over.
pub(super) const MAX_LINE: u64 = 1 << 20;

/// Judge tokens: one a line on standard input, one JSON object a line on standard output.
///
/// A token with a good signature and no finding above info is `valid`. One with a finding, with a
/// bad signature, or under a key that is too weak for its algorithm is `invalid`. Where nothing is
/// wrong but no key is at hand it is `unverifiable`. The token itself is never printed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    jotwatch inspect < tokens.txt\n  \
    pbpaste | jotwatch inspect --keys jwks.json --issuer https://id.example --audience orders\n  \
    jotwatch inspect --jws --keys key.pem --at 2026-01-02T03:04:05Z < tokens.txt")]
pub(super) struct Arguments {
    /// Keys: a JWK Set, one JWK, PEM or DER; may be given several times. They are taken for all
    /// the keys that there are.
    #[arg(long = "keys", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Judge header and signature alone, and ask no claims of the payload.
    #[arg(long)]
    jws: bool,
    /// Judge as of this time: RFC 3339, or seconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = Time::parse)]
    at: Option<Time>,
    /// The issuer that the tokens must name.
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// A file of weak HMAC secrets, one a line, that every token is tried with.
    #[arg(long, value_name = "FILE")]
    weak_secrets: Option<PathBuf>,
    /// An audience of which the tokens must name one; may be given several times.
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let keys = load_keys(&arguments.keys)?;
    let policy = policy(arguments);
    let weak = arguments.weak_secrets.as_deref().map(WeakSecrets::load).transpose()?;
    let options = DecodeOptions { claims: !arguments.jws, ..DecodeOptions::default() };
    let now = arguments.at.unwrap_or_else(|| {
        Time::EPOCH + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    });
    let mut input = io::stdin().lock();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut line = Vec::new();
    for number in 1_u64.. {
        if !read_line(&mut input, &mut line)? {
            break;
        }
        let judged = if line.len() as u64 > MAX_LINE {
            let detail = format!("a line of more than {MAX_LINE} bytes");
            let findings = [Finding::new(FindingId::TokenTooLarge, detail)];
            answer(number, Verdict::Invalid, None, None, &findings)
        } else {
            judge(number, &line, &options, &keys, &policy, weak.as_ref(), now)
        };
        serde_json::to_writer(&mut out, &judged)?;
        out.write_all(b"\n")?;
        // Somebody may be typing.
        out.flush()?;
    }
    Ok(())
}

fn judge(
    number: u64,
    token: &[u8],
    options: &DecodeOptions,
    keys: &KeyStore,
    policy: &Policy,
    weak: Option<&WeakSecrets>,
    now: Time,
) -> Value {
    let decoded = decode(token, options);
    let validation = Validation::new(token, &decoded, keys, policy);
    let mut findings = decoded.findings().to_vec();
    findings.extend(validation.findings.iter().cloned());
    findings.extend(validation.claim_findings.iter().cloned());
    if policy.claims {
        validation.at(now, &mut findings);
    }
    if let (Some(list), Some(sample)) = (weak, hmac_sample(token, &decoded))
        && list.verify(&sample)
    {
        let detail = "a secret of the list verifies it";
        findings.push(Finding::new(FindingId::WeakSecret, detail));
    }
    let mut verdict = validation.verdict(findings.iter());
    // RFC 7518, sections 3.2, 3.3 and 3.5 say of the length of keys that they must: who asks about
    // one token gets a strict answer. On the wire it is `info`, or every request of a service with
    // such a key would raise an alert.
    if verdict == Verdict::Valid && findings.iter().any(|finding| finding.id == FindingId::KeyWeak)
    {
        verdict = Verdict::Invalid;
    }
    let header = |name| {
        let text = decoded.header()?.get(name)?.as_str()?;
        Some(show(&text).into_owned())
    };
    answer(number, verdict, header("alg").as_deref(), header("kid").as_deref(), &findings)
}

fn answer(
    number: u64,
    verdict: Verdict,
    alg: Option<&str>,
    kid: Option<&str>,
    findings: &[Finding],
) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "id": finding.id.as_str(),
                "severity": finding.severity.as_str(),
                "detail": crate::redact::text(&finding.detail),
            })
        })
        .collect();
    json!({
        "line": number,
        "verdict": verdict.as_str(),
        "alg": alg,
        "kid": kid,
        "findings": findings,
    })
}

fn policy(arguments: &Arguments) -> Policy {
    let issuer = IssuerPolicy {
        issuer: arguments.issuer.clone(),
        audiences: arguments.audience.clone(),
        // Who asks about an encrypted token has one: its structure is judged.
        encrypted: Some(true),
        ..IssuerPolicy::default()
    };
    Policy {
        known_issuers_only: arguments.issuer.is_some(),
        issuers: arguments.issuer.iter().map(|_| issuer.clone()).collect(),
        any: issuer,
        claims: !arguments.jws,
        closed: true,
    }
}

fn load_keys(paths: &[PathBuf]) -> anyhow::Result<KeyStore> {
    let mut store = KeyStore::new();
    for path in paths {
        let bytes = read_keys(path).with_context(|| format!("keys {}", path.display()))?;
        let set = parse_keys(&bytes, KeySource::File)
            .with_context(|| format!("keys {}", path.display()))?;
        for rejected in &set.rejected {
            let _ = writeln!(
                io::stderr(),
                "jotwatch: keys {}: key {} is not used: {}",
                path.display(),
                rejected.index + 1,
                rejected.error
            );
        }
        store.add(None, set.keys);
    }
    Ok(store)
}

fn read_keys(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_KEY_SET_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a line without its end; of one that is too long, more than [`MAX_LINE`] bytes. `false`
/// at the end of the input.
pub(super) fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let read = input.by_ref().take(MAX_LINE + 1).read_until(b'\n', line)?;
    if read as u64 > MAX_LINE && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
        return Ok(true);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(read > 0)
}
