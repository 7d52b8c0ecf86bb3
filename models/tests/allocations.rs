//! Nothing is allocated for what is known. In a process of its own, as it counts all allocations.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicUsize, Ordering},
};

use jotwatch_models::behaviour::{
    Answer, BehaviourModel, Client, Gate, GeoPoint, Limits, NetworkKinds, Profiles, Request,
    Templates, TokenUse, Vector,
};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise, handed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn nothing_is_allocated_for_what_is_known() {
    let templates = Templates::new([1; 16]);
    let mut profiles = Profiles::new(Limits::default(), [2; 16]);
    let mut vector = Vector::default();
    let model = BehaviourModel::embedded().unwrap();
    let gate = Gate::new(&model, 0.05);
    let mut round = |start: u64| {
        for k in 0..20_000_u64 {
            let paths: [&[u8]; 3] =
                [b"/orders/17", b"/orders?page=2", b"/users/018f3b1c-7d2a-7c3e-9a55-0242ac120002"];
            let subject = k % 50;
            let request = Request {
                at_ms: start + k * 20_000,
                subject: subject.into(),
                role: (subject % 3 != 0).then_some(subject % 3),
                token: Some(TokenUse {
                    fingerprint: subject << 40 | (k / 1000) << 33,
                    issuer: 1,
                    issued_s: Some(1),
                    expires_s: Some(3600),
                    first_use: k % 1000 == 0,
                }),
                client: Client {
                    address: IpAddr::V4(Ipv4Addr::from_bits(subject as u32)),
                    asn: Some(subject as u32 % 7),
                    country: Some(*b"DE"),
                    place: Some(GeoPoint { lat: 50.0, lon: subject as f32, radius_km: 5 }),
                    kinds: Some(NetworkKinds::NONE),
                    threat: Some(false),
                },
                device: subject % 5,
                service: 1,
                route: templates.route(1, b"GET", paths[k as usize % 3]),
                scope_covers: Some(true),
                findings: [0; 5],
                payload: Some(0.01),
                bytes: 500,
            };
            let handle = profiles.request(&request, &mut vector);
            let answer = Answer { status: 200, latency_us: 900, bytes: 4000 };
            profiles.answer(handle, &answer, &mut vector);
            // The model, as far as need be and whole, with its reasons.
            let some = model.score_above(&gate, &vector);
            let whole = model.score(&vector);
            assert_eq!(some.is_some(), whole.probability >= 0.05);
        }
    };
    // Half a week, through all windows.
    round(1_700_000_000_000);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    round(1_700_000_000_000 + 20_000 * 20_000);
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    assert!(!vector.learning);
}
