//! What profiles cost. Slow, and in need of 600 MiB, so only on demand:
//! `cargo test --release -p jotwatch-models --test behaviour_cost -- --ignored --nocapture`.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
};

use jotwatch_models::behaviour::{
    Answer, Client, GeoPoint, Limits, NetworkKinds, Profiles, Request, Templates, TokenUse, Vector,
};

/// Nanoseconds that this thread has run: others on the machine don't count.
#[expect(clippy::unwrap_used, reason = "without the time there is nothing to measure")]
fn own_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Memory of this process in MiB.
#[expect(clippy::unwrap_used, reason = "without the size there is nothing to measure")]
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

/// The `k`th request of some that come to `subjects` in turn.
fn request(templates: &Templates, k: u64, subjects: u64) -> Request {
    let subject = k.wrapping_mul(0x9e37_79b9_7f4a_7c15) % subjects;
    let path = ["/orders/17/lines", "/orders?page=2", "/users/me", "/items/4711"][k as usize % 4];
    let second = k / 2000;
    Request {
        at_ms: 1_700_000_000_000 + second * 1000,
        subject: subject.into(),
        role: (!subject.is_multiple_of(3)).then_some(subject % 3),
        token: Some(TokenUse {
            fingerprint: subject << 33 | 1 << 32,
            issuer: 1,
            issued_s: Some(1_700_000_000),
            expires_s: Some(1_700_003_600),
            first_use: false,
        }),
        client: Client {
            address: IpAddr::V4(Ipv4Addr::from_bits(subject as u32 / 2)),
            asn: Some(subject as u32 % 500),
            country: Some(*b"DE"),
            place: Some(GeoPoint { lat: 50.0, lon: (subject % 90) as f32, radius_km: 5 }),
            kinds: Some(NetworkKinds::NONE),
            threat: Some(false),
        },
        device: (subject % 50) << 48,
        service: 1,
        route: templates.route(1, b"GET", path.as_bytes()),
        scope_covers: Some(true),
        findings: [0; 5],
        payload: Some(0.01),
        bytes: 500,
    }
}

#[test]
#[ignore = "measures"]
fn what_a_request_and_its_answer_cost() {
    let templates = Templates::new([1; 16]);
    for subjects in [1000_u64, 1_000_000] {
        let mut profiles = Profiles::new(Limits::default(), [2; 16]);
        let mut vector = Vector::default();
        let mut run = |from: u64, count: u64| {
            let requests: Vec<Request> =
                (from..from + count).map(|k| request(&templates, k, subjects)).collect();
            let start = own_time();
            for request in &requests {
                let handle = profiles.request(request, &mut vector);
                let answer = Answer { status: 200, latency_us: 900, bytes: 4000 };
                profiles.answer(handle, &answer, &mut vector);
                black_box(&vector);
            }
            (own_time() - start) / count
        };
        let before = resident();
        for round in 0..(4 * subjects).div_ceil(50_000) {
            run(round * 50_000, 50_000);
        }
        let from = (4 * subjects).div_ceil(50_000) * 50_000;
        let cost = run(from, 50_000);
        println!("{} MiB resident more than before", resident() - before);
        println!(
            "{subjects} subjects: {cost} ns a request with its answer; {} MiB, {:?}",
            profiles.heap_bytes() >> 20,
            profiles.counts()
        );
        let start = own_time();
        let mut file = Vec::new();
        profiles.save(&mut file).unwrap();
        let saved = own_time() - start;
        let start = own_time();
        profiles.load(&mut file.as_slice()).unwrap();
        let loaded = own_time() - start;
        let (saved, loaded) = (saved / 1_000_000, loaded / 1_000_000);
        println!("saved in {saved} ms, loaded in {loaded} ms, {} MiB", file.len() >> 20);
    }
}
