//! What a token costs, for `cargo xtask bench token`: one JSON object on standard output.
//!
//! `bench-token times [--rounds N]` judges tokens of 600 characters: one that was seen before, new
//! ones signed with HS256, new ones signed with RS256 under 2048 bits, and beside these the
//! backend's bare verification of the same signatures. Each round does a batch of each in turn, so
//! that a busy machine slows all of them. Nanoseconds of processor time a token, one figure a round.
//!
//! `bench-token crowd [--tokens N]` sends that many tokens, all of them in their lifetime, through
//! a pipeline with the default settings, and says what is resident and what was forgotten.

use std::{env, fs, hint::black_box, io, process, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use jotwatch::{
    capture::Direction,
    config::Config,
    event::Event,
    http::{Chunk, Connection, Events, HttpEvent, Limits, Request},
    keys::{Key, KeySource, KeyStore, parse_keys},
    pipeline::{Output, Pipeline, Settings},
    time::Time,
    token::{FingerprintKey, Judge, JudgeConfig, validate::Policy},
};
use jotwatch_tests::{tokens::base64url, usage::cpu_nanos, wire::Wire};
use serde_json::json;

/// Characters of a token, as the capture of `cargo xtask bench replay` has them.
const LENGTH: usize = 600;
/// Tokens of one batch: short against what else runs on the machine, long against the clock.
const BATCH: usize = 500;
/// When the tokens are used; they were issued then, and hold for an hour.
const NOW: u64 = 1_767_323_045;
const SECRET: &[u8] = b"a secret of the benchmark, known to everyone";
const ISSUERS: [&str; 2] = ["https://hs.bench.test", "https://rs.bench.test"];

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match *words {
        ["times"] => times(15)?,
        ["times", "--rounds", rounds] => times(rounds.parse()?)?,
        ["crowd"] => crowd(1_000_000)?,
        ["crowd", "--tokens", tokens] => crowd(tokens.parse()?)?,
        _ => {
            eprintln!("usage: bench-token times [--rounds N] | crowd [--tokens N]");
            process::exit(2);
        }
    };
    serde_json::to_writer(io::stdout(), &result)?;
    Ok(())
}

/// What a token's signature covers: 600 characters less the signature's.
fn signing_input(alg: &str, issuer: &str, number: usize, signature: usize) -> String {
    let header = base64url(format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#).as_bytes());
    let claims = |fill: usize| {
        let (iat, exp, fill) = (NOW, NOW + 3_600, "x".repeat(fill));
        base64url(
            format!(
                r#"{{"iss":"{issuer}","aud":"bench","sub":"user-{number:08}","iat":{iat},"exp":{exp},"fill":"{fill}"}}"#
            )
            .as_bytes(),
        )
    };
    let room = LENGTH.saturating_sub(header.len() + signature + 2 + claims(0).len());
    format!("{header}.{}", claims(room * 3 / 4))
}

fn head(token: &str) -> String {
    format!(
        "GET /api/v1/items/7 HTTP/1.1\r\nHost: api.example:8080\r\nUser-Agent: bench/1.0\r\n\
        Accept: application/json\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
}

fn request(token: &str) -> Result<Box<Request>> {
    let mut events = Events::default();
    let (head, at) = (head(token), Time::from_unix_secs(NOW));
    let data = Chunk::Data(head.as_bytes());
    Connection::new(false).push(Direction::ToServer, at, data, &Limits::default(), &mut events);
    let request = events.take().into_iter().find_map(|event| match event {
        HttpEvent::Request { request, .. } => Some(request),
        _ => None,
    });
    request.context("no request came of a head")
}

/// A token with what its bare verification takes.
struct Signed {
    request: Box<Request>,
    input: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    fn new(
        alg: &str,
        issuer: &str,
        number: usize,
        len: usize,
        sign: impl Fn(&[u8]) -> Vec<u8>,
    ) -> Result<Self> {
        let input = signing_input(alg, issuer, number, len);
        let signature = sign(input.as_bytes());
        let request = request(&format!("{input}.{}", base64url(&signature)))?;
        Ok(Self { request, input: input.into(), signature })
    }
}

/// Nanoseconds of processor time for each of a batch: what else runs on the CPU does not count.
fn timed<T>(batch: &[T], mut work: impl FnMut(&T)) -> u64 {
    let start = cpu_nanos();
    batch.iter().for_each(&mut work);
    (cpu_nanos() - start) / batch.len().max(1) as u64
}

fn times(rounds: usize) -> Result<serde_json::Value> {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).ok().context("no RSA key")?;
    let der: PublicKeyX509Der<'_> = rsa.public_key().as_der().ok().context("no RSA key")?;
    let bare_rsa = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, rsa.public_key().as_ref())
        .ok()
        .context("no RSA key")?;
    let bare_hmac = hmac::Key::new(hmac::HMAC_SHA256, SECRET);

    let mut keys = KeyStore::new();
    let [hs, rs] = ISSUERS;
    keys.add(Some(hs), [Arc::new(Key::from_secret(SECRET, None, KeySource::File)?)]);
    keys.add(Some(rs), parse_keys(der.as_ref(), KeySource::File)?.keys);
    let mut judge = Judge::new(JudgeConfig::new(FingerprintKey::new([7; 16])));
    judge.trust(Arc::new(keys), Arc::new(Policy::default()));

    let random = SystemRandom::new();
    let by_rsa = |input: &[u8]| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        let signed = rsa.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature);
        signed.map(|()| signature).unwrap_or_default()
    };
    let by_hmac = |input: &[u8]| hmac::sign(&bare_hmac, input).as_ref().to_vec();
    let seen = Signed::new("HS256", hs, usize::MAX >> 40, 43, by_hmac)?;
    judge.judge(&seen.request);

    let mut figures: [Vec<u64>; 5] = [const { Vec::new() }; 5];
    for round in 0..rounds {
        let numbers = round * BATCH..(round + 1) * BATCH;
        let new_hs = numbers.clone().map(|k| Signed::new("HS256", hs, k, 43, by_hmac));
        let new_hs = new_hs.collect::<Result<Vec<_>>>()?;
        let new_rs = numbers.map(|k| Signed::new("RS256", rs, k, 342, by_rsa));
        let new_rs = new_rs.collect::<Result<Vec<_>>>()?;
        let again = vec![(); 20 * BATCH];
        let mut good = 0;
        let mut judged = |one: &Signed| {
            let report = black_box(judge.judge(black_box(&one.request)));
            good += usize::from(report.tokens.iter().all(|token| token.findings.is_empty()));
        };
        let round = [
            timed(&again, |()| judged(&seen)),
            timed(&new_hs, &mut judged),
            timed(&new_hs, |one| {
                let verified = hmac::verify(&bare_hmac, &one.input, &one.signature);
                assert!(black_box(verified).is_ok(), "a bare HMAC does not verify");
            }),
            timed(&new_rs, &mut judged),
            timed(&new_rs, |one| {
                let verified = bare_rsa.verify_sig(&one.input, &one.signature);
                assert!(black_box(verified).is_ok(), "a bare signature does not verify");
            }),
        ];
        ensure!(good == 22 * BATCH, "the judge refuses a good token");
        figures.iter_mut().zip(round).for_each(|(all, one)| all.push(one));
    }
    // Two new ones a number, and the one that was seen before.
    let decoded = judge.counters().decoded;
    ensure!(decoded == 2 * (rounds * BATCH) as u64 + 1, "{decoded} tokens were decoded");
    let [seen, new_hs, bare_hs, new_rs, bare_rs] = figures;
    Ok(json!({
        "seen": seen, "new_hs256": new_hs, "bare_hs256": bare_hs,
        "new_rs256": new_rs, "bare_rs256": bare_rs,
    }))
}

/// Counts events: there should be none.
struct Silent(u64);

impl Output for Silent {
    fn event(&mut self, _event: Event) {
        self.0 += 1;
    }
}

fn crowd(tokens: usize) -> Result<serde_json::Value> {
    let before = memory("VmRSS:")?;
    let settings =
        Settings::new(&Config::default(), FingerprintKey::new([7; 16]), *b"a salt of 16 byt");
    let mut pipeline = Pipeline::new(settings);
    let mut out = Silent(0);
    let mut wire = Wire::new("192.0.2.1:2000".parse()?, "198.51.100.20:8080".parse()?);
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let at = Time::from_unix_secs(NOW);
    let mut nanos = 0;
    let mut made = 0;
    while made < tokens {
        let upto = (made + BATCH).min(tokens);
        // Nobody has a key for these, so any signature of the right length does.
        let heads: Vec<String> = (made..upto)
            .map(|k| {
                let mut signature = [0x5a; 32];
                signature[..8].copy_from_slice(&(k as u64).to_be_bytes());
                let input = signing_input("HS256", "https://bench.test", k, 43);
                head(&format!("{input}.{}", base64url(signature)))
            })
            .collect();
        let start = cpu_nanos();
        for head in &heads {
            wire.exchange(&mut pipeline, &mut out, at, head.as_bytes(), ANSWER);
        }
        nanos += cpu_nanos() - start;
        made = upto;
    }
    let counters = pipeline.memory().counters();
    if out.0 > 0 {
        bail!("{} events of good tokens", out.0);
    }
    Ok(json!({
        "tokens": tokens,
        "remembered": counters.tokens,
        "forgotten": counters.tokens_forgotten.age + counters.tokens_forgotten.size,
        "nanos": nanos / tokens.max(1) as u64,
        "resident_before": before,
        "resident": memory("VmRSS:")?,
        "peak": memory("VmHWM:")?,
    }))
}

/// What this process has resident, in bytes: now (`VmRSS:`) or at most (`VmHWM:`).
fn memory(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such figure")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1_024)
}
