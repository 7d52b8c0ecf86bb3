//! What syslog receivers get.

use super::*;

#[test]
fn a_local_receiver_gets_rfc_5424() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let socket = receiver(&path);
    let (sinks, warnings) = start(
        &only(SyslogConfig {
            hostname: Some("web 1\u{e9}".to_owned()),
            facility: Facility::try_from("local3".to_owned()).unwrap(),
            ..local(&path)
        }),
        dir.path(),
    );
    assert_eq!(warnings, Vec::<String>::new());
    for event in samples::all() {
        let whole = line(&event);
        sinks.send(event.clone());
        let message = receive(&socket);
        assert!(message.len() <= MESSAGE_DEFAULT);
        let parsed = parse(&message);
        let code = syslog::severity_code(event.severity.as_str());
        assert_eq!(parsed.pri, 19 * 8 + code);
        assert_eq!(parsed.timestamp, event.at.to_string());
        assert_eq!((parsed.hostname.as_str(), parsed.app_name.as_str()), ("web1", "jotwatch"));
        assert_eq!(parsed.procid, std::process::id().to_string());
        assert_eq!(parsed.msgid, event.kind().as_str());
        assert_eq!(parsed.sd_id, "jotwatch@32473");
        let json = parsed.event();
        assert_eq!(parsed.param("id"), json["id"].as_str());
        assert_eq!(parsed.param("severity"), json["severity"].as_str());
        if let Body::Request(body) = &event.body {
            assert_eq!(parsed.param("server"), Some(body.server.to_string().as_str()));
        }
        if json.get("shortened").is_none() {
            assert_eq!(json, serde_json::from_slice::<Value>(&whole).unwrap());
        }
    }
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!(status.name, format!("syslog:{}", path.display()));
    assert_eq!(
        (status.delivered, status.queued, status.errors),
        (samples::all().len() as u64, 0, 0)
    );
    assert_eq!(status.dropped, [0; 5]);
}

#[test]
fn structured_data_names_what_one_filters_by() {
    let parsed = parse(
        syslog::Format::new(&SyslogConfig::default())
            .message(&line(&samples::request()))
            .unwrap()
            .as_bytes(),
    );
    let pairs = parsed.params.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ");
    assert_eq!(
        pairs,
        "id=bb11609bc1e9c40eec141d627a651eaa severity=critical verdict=alert method=GET status=200 \
         client=192.0.2.7:51234 server=198.51.100.2:8080 service=nginx score=100 \
         findings=alg-none,token-in-query"
    );
    assert_eq!(parsed.pri, 82);
}

#[test]
fn a_token_in_any_text_stays_inside() {
    let token = samples::TOKEN;
    let spoiled = format!("x {token} y");
    let text = || Text::new(spoiled.as_bytes(), 1000);
    let mut event = samples::request();
    let Body::Request(body) = &mut event.body else { unreachable!() };
    let bytes = spoiled.as_bytes();
    body.request = RequestView::new(bytes, bytes, Some(bytes), Some(bytes), 0);
    body.service = Some(Arc::new(Service {
        command: Some(spoiled.clone()),
        cgroup: Some(spoiled.clone()),
        ..Service::default()
    }));
    body.findings = vec![Finding::new(FindingId::AlgNone, spoiled.clone())];
    let view = &mut body.tokens[0];
    view.location = text();
    (view.scheme, view.alg) = (Some(text()), Some(text()));
    (view.kid, view.typ) = (Some(text()), Some(text()));
    view.claims.push(&spoiled, &serde_json::json!({ spoiled.clone(): [spoiled.clone()] }));
    view.findings.clone_from(&body.findings);

    let formats = [BodyFormat::Json, BodyFormat::Text, BodyFormat::Cef, BodyFormat::Leef];
    let mut outputs = formats
        .map(|format| SyslogConfig { format, ..SyslogConfig::default() })
        .map(|config| syslog::Format::new(&config).message(&line(&event)).unwrap())
        .to_vec();
    let mut entry = Vec::new();
    journald::fields(&mut entry, &serde_json::from_slice(&line(&event)).unwrap(), &[], "x");
    outputs.push(String::from_utf8_lossy(&entry).into_owned());
    for limit in [usize::MAX, 2000, 1000] {
        let whole = serde_json::from_slice(&line(&event)).unwrap();
        outputs.push(String::from_utf8(shorten(&whole, limit)).unwrap());
    }
    for part in token.split('.') {
        for output in &outputs {
            assert!(
                !output.contains(part) && !output.contains(&part[part.len() - 8..]),
                "{output}"
            );
        }
    }
    assert!(outputs[0].matches("[redacted]").count() > 10, "{}", outputs[0]);
}

#[test]
fn every_message_fits_the_least_limit() {
    let config = SyslogConfig {
        message_bytes: MESSAGE_MIN,
        hostname: Some("h".repeat(300)),
        ..SyslogConfig::default()
    };
    let format = syslog::Format::new(&config);
    let mut events = samples::all();
    // Text that grows most when it is written as ASCII.
    let mut wide = samples::hostile();
    let Body::Request(body) = &mut wide.body else { unreachable!() };
    let text = "\u{e9}".repeat(4000);
    let text = text.as_bytes();
    body.request = RequestView::new(text, text, Some(text), Some(text), u64::MAX);
    events.push(wide);
    for event in events {
        let message = format.message(&line(&event)).unwrap();
        assert!(message.len() <= MESSAGE_MIN, "{}: {message}", message.len());
        assert_eq!(parse(message.as_bytes()).event()["kind"], event.kind().as_str());
    }
}

#[test]
fn a_udp_receiver_gets_messages() {
    let dir = tempfile::tempdir().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let address = format!("udp://{}", socket.local_addr().unwrap());
    let (sinks, warnings) = start(
        &only(SyslogConfig {
            address: address.clone().try_into().unwrap(),
            ..SyslogConfig::default()
        }),
        dir.path(),
    );
    assert_eq!(warnings, Vec::<String>::new());
    let mut buffer = [0; 65_536];
    for event in [samples::request(), samples::hostile()] {
        sinks.send(event);
        let len = socket.recv(&mut buffer).unwrap();
        assert!(len <= MESSAGE_DEFAULT);
        assert_eq!(parse(&buffer[..len]).event()["kind"], "request");
    }
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!((status.name, status.delivered), (format!("syslog:{address}"), 2));
}

#[test]
fn a_stream_receiver_gets_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let listener = UnixListener::bind(&path).unwrap();
    let (sinks, warnings) = start(&only(local(&path)), dir.path());
    assert_eq!(warnings, Vec::<String>::new());
    for number in 0..3 {
        sinks.send(numbered(number));
    }
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let lines = BufReader::new(stream).lines().take(3).map(Result::unwrap).collect::<Vec<_>>();
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(parse(line.as_bytes()).event()["exchange"], number);
    }
}
