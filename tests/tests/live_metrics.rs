//! Metrics of the running daemon: what is asked of a service is counted, told to a scraper on a unix
//! socket and to a receiver of the OpenTelemetry protocol; other settings come with a reload.

use std::{fs, io::Write as _, net::TcpStream, os::unix::net::UnixStream};

use anyhow::{Context as _, Result, ensure};
use jotwatch::sinks::otlp::messages::{ExportMetrics, MetricData, NumberValue};
use jotwatch_tests::{
    net::privileged,
    receiver::{Answer, Receiver},
    sensor::Sensor,
    services::free_loopback,
    stand::{self, PORT, Stand, wait},
};
use prost::Message as _;
use rustix::process::Signal;

fn scrape(mut stream: impl std::io::Read + std::io::Write) -> Result<String> {
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    Ok(answer)
}

fn value(text: &str, sample: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no {sample}: {text}"))?.parse()?)
}

#[test]
fn what_is_asked_is_counted_and_told() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let stand = Stand::new(env!("CARGO_BIN_EXE_recording-http"))?;
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("metrics.sock");
    let receiver = Receiver::start("127.0.0.1:0".parse()?, Answer::status(200))?;
    let sensor = Sensor::start(
        &stand.place,
        &[PORT],
        &format!(
            "[[sinks.otlp]]\nurl = \"http://{}\"\nlogs = false\nmetrics = true\ninterval_seconds = 1\n\
             [metrics]\nlisten = \"unix:{}\"\n",
            receiver.address(),
            socket.display()
        ),
    )?;
    // Those that say nothing hold up neither the daemon nor, for long, the next.
    let _silent = UnixStream::connect(&socket)?;
    for n in 0..5 {
        let mut client = stand.connect(false)?;
        client.write_all(stand::bearer(&stand::forged(n)).as_bytes())?;
        stand::answer(&mut client)?;
    }
    sensor.settled(5)?;
    wait("the count", || {
        let text = scrape(UnixStream::connect(&socket)?)?;
        Ok(value(&text, "jotwatch_requests_judged_total")? >= 5.0
            && value(&text, "jotwatch_findings_total{finding=\"alg-none\"}")
                .is_ok_and(|n| n >= 5.0)
            && value(&text, "jotwatch_event_latency_seconds_count")? >= 5.0
            && value(&text, "jotwatch_sink_delivered_total{sink=\"stdout\"}")? >= 5.0)
    })?;
    wait("metrics over OTLP", || {
        for got in receiver.got() {
            ensure!(got.target == "/v1/metrics", "{}", got.target);
            let sent = ExportMetrics::decode(&*got.body)?;
            let metrics = sent.resource_metrics.iter().flat_map(|of| &of.scope_metrics);
            for metric in metrics.flat_map(|of| &of.metrics) {
                if metric.name == "jotwatch_requests_judged"
                    && let Some(MetricData::Sum(sum)) = &metric.data
                    && let Some(NumberValue::Int(5..)) = sum.data_points[0].value
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    })?;
    // Another place after a reload; the first is gone.
    let address = free_loopback()?;
    let config = fs::read_to_string(sensor.config())?;
    let before = format!("unix:{}", socket.display());
    fs::write(sensor.config(), config.replace(&before, &address.to_string()))?;
    sensor.signal(Signal::HUP)?;
    wait("the other place", || Ok(TcpStream::connect(address).is_ok()))?;
    scrape(TcpStream::connect(address)?)?;
    wait("the first place to go", || Ok(!socket.exists()))?;
    stand::end(sensor)
}
