//! What an attacker gets: in `kill` how fast he is cut and whether a denied token is ever read
//! again, in `hold` whether a byte of an answer leaves, in `gate` whether a request is read.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    super::{
        note,
        stand::WATCHED,
        table::{Table, float, thousands},
        token::token,
    },
    client::{Client, FORGED, LIMIT, bad, changed, forged, good, request, settle},
    ground::{Ground, RECORDED},
};

/// Good requests a second beside the forged ones.
pub(super) const BESIDE: f64 = 10_000.0;
/// Of 100 forged requests, 99 are cut within this.
const TARGET_RESET: Duration = Duration::from_millis(5);
/// Connections at a time. The guard puts 512 heads in pieces together at a time.
const BATCH: usize = 400;
/// How long a batch may take: TCP has sent what is held again twice by then.
const BATCH_LIMIT: Duration = Duration::from_millis(900);

/// How fast a forged request is cut, with good ones beside.
pub(super) fn kill(ground: &Ground<'_>, table: &mut Table, quick: bool) -> Result<()> {
    let (requests, seconds) = if quick { (200, 3) } else { (2_000, 12) };
    note(&format!("enforce, kill: {requests} forged requests beside good ones"));
    let sensor = ground.sensor("kill", "")?;
    let (load, took) = thread::scope(|scope| {
        let load = scope.spawn(|| ground.stand.paced_load(WATCHED, BESIDE, seconds));
        // The load is at its rate by then.
        thread::sleep(Duration::from_millis(500));
        let took = cuts(requests, Duration::from_secs((seconds - 1).into()));
        (load.join(), took)
    });
    let load = load.map_err(|_| anyhow::anyhow!("the load panicked"))??;
    let mut took = took?;
    ground.stop(sensor)?;
    table.figure("kill: forged requests", thousands(float(took.len() as u64)));
    let missed = took.iter().filter(|took| took.is_none()).count();
    table.judged("  not reset", missed.to_string(), "0", missed == 0);
    took.sort_by_key(|took| took.unwrap_or(Duration::MAX));
    let at = |part: usize| took.get(took.len() * part / 100).copied().flatten();
    let shown = |took: Option<Duration>| took.map_or("never".into(), |took| format!("{took:.2?}"));
    table.figure("  last byte to RST, p50", shown(at(50)));
    table.judged(
        "  last byte to RST, p99",
        shown(at(99)),
        format!("≤ {TARGET_RESET:?}"),
        at(99).is_some_and(|took| took <= TARGET_RESET),
    );
    table.figure("  good requests/s beside", thousands(load.rate));
    Ok(())
}

/// Forged requests, one after another, and how long each took to be cut.
fn cuts(requests: usize, limit: Duration) -> Result<Vec<Option<Duration>>> {
    let end = Instant::now() + limit;
    let mut took = Vec::with_capacity(requests);
    while took.len() < requests && Instant::now() < end {
        let number = took.len();
        // nginx listens on IPv4 only.
        let mut client = Client::connect(WATCHED.port(), 2 * number)?;
        client.send([bad(&forged(number)).as_slice()])?;
        let sent = Instant::now();
        took.push(client.until_reset().map(|at| at.saturating_duration_since(sent)));
    }
    Ok(took)
}

/// A denied token in other clothes, all of them the same signature: `number` chooses.
fn disguised(number: usize) -> Vec<Vec<u8>> {
    let token = forged(usize::MAX);
    let (front, last) = token.split_at(token.len() - 1);
    // Characters that differ in the two bits which do not count.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = last.bytes().next().and_then(|c| alphabet.iter().position(|a| *a == c));
    let same = (place.unwrap_or(0) & !3) | (number % 4);
    let token = format!("{front}{}", char::from(alphabet[same]));
    let line = match number / 4 % 6 {
        0 => format!("Authorization: Bearer {token}"),
        1 => format!("aUTHORIZATION: bEARER {token}"),
        2 => format!("AUTHORIZATION:\t  BEARER \t {token}"),
        3 => format!("Cookie: a=b; session={token}; c=d"),
        4 => format!("Authorization: Bearer {token}="),
        _ => format!("Authorization: JWT {token}"),
    };
    let whole = request(FORGED, &line);
    // At every byte in turn; the first place is none.
    let (front, behind) = whole.split_at(number % whole.len());
    [front, behind].into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect()
}

/// The uses of a token behind the one that had it denied.
pub(super) fn denied(ground: &Ground<'_>, table: &mut Table, quick: bool) -> Result<()> {
    let uses = if quick { 1_000 } else { 10_000 };
    note(&format!("enforce, kill: {uses} uses of a denied token"));
    let sensor = ground.sensor("kill", "")?;
    let mut first = Client::connect(RECORDED, 0)?;
    first.send([bad(&forged(usize::MAX)).as_slice()])?;
    first.until_reset().context("the first use is not reset")?;
    let before = ground.read();
    let mut asked = 0;
    for begin in (0..uses).step_by(BATCH) {
        let mut clients = Vec::new();
        for number in begin..uses.min(begin + BATCH) {
            let mut client = Client::connect(RECORDED, number)?;
            client.send(disguised(number).iter().map(Vec::as_slice))?;
            clients.push(client);
        }
        Client::connect(RECORDED, begin / BATCH)?.ask(&good(&token(begin)))?;
        asked += 1;
        settle(&mut clients, Duration::from_millis(450), |_| false)?;
    }
    let after = ground.read();
    ground.stop(sensor)?;
    table.figure("kill: uses of a denied token", thousands(float(uses as u64)));
    let read = after.0 - before.0;
    table.judged("  read by the service", read.to_string(), "0", read == 0);
    let answered = after.1 - before.1;
    table.judged("  good requests beside, read", answered.to_string(), "all", answered == asked);
    Ok(())
}

/// Whether a byte of an answer to a forged request leaves.
pub(super) fn hold(ground: &Ground<'_>, table: &mut Table, quick: bool) -> Result<()> {
    let requests = if quick { 800 } else { 10_000 };
    let answers_in = {
        let (mut client, mut took) = (Client::connect(RECORDED, 0)?, Vec::new());
        for _ in 0..1_000 {
            took.push(client.ask(&good(&token(0)))?);
        }
        took.sort_unstable();
        took.get(took.len() / 2).copied().unwrap_or_default()
    };
    note(&format!("enforce, hold: {requests} forged requests"));
    let sensor = ground.sensor("hold", "")?;
    let before = ground.read();
    let (mut bytes, mut left) = (0, 0);
    let (mut sent, mut answered, mut reset) = (0, 0, 0);
    for begin in (0..requests).step_by(BATCH) {
        let mut clients = Vec::new();
        for number in begin..requests.min(begin + BATCH) {
            let mut client = Client::connect(RECORDED, number)?;
            client.send([bad(&forged(number)).as_slice()])?;
            clients.push(client);
        }
        let mut friend = Client::connect(RECORDED, begin / BATCH)?;
        friend.ask(&good(&token(begin)))?;
        friend.ask(&good(&token(begin)))?;
        (sent, answered) = (sent + 2, answered + 2);
        settle(&mut clients, BATCH_LIMIT, |_| false)?;
        bytes += clients.iter().map(|client| client.answer.len()).sum::<usize>();
        left += clients.iter().filter(|client| !client.answer.is_empty()).count();
        reset += clients.iter().filter(|client| client.reset).count();
    }
    let read = ground.read().0 - before.0;
    ground.stop(sensor)?;
    table.figure("hold: forged requests, read by the service", thousands(float(read)));
    table.figure("  its answer without the sensor, p50", format!("{answers_in:.1?}"));
    table.judged(
        "  bytes of answers that left",
        format!("{bytes} (of {left} answers)"),
        "0",
        bytes == 0 && read == requests as u64,
    );
    table.figure("  reset", thousands(float(reset as u64)));
    table.judged("  good requests beside, answered", answered.to_string(), "all", answered == sent);
    Ok(())
}

/// The shapes in which forged requests come.
const SHAPES: [&str; 4] = ["whole", "byte by byte", "behind a good one", "good signature"];

/// Whether a forged request is read, and whether every good one is answered.
pub(super) fn gate(ground: &Ground<'_>, table: &mut Table, quick: bool) -> Result<()> {
    let requests = if quick { 800 } else { 10_000 };
    note(&format!("enforce, gate: {requests} forged requests"));
    let sensor = ground.sensor("gate", "")?;
    let known = token(0);
    Client::connect(RECORDED, 0)?.ask(&good(&known))?;
    let before = ground.read();
    let (mut asked, mut answered, mut reset, mut worst) = (0, 0, 0, Duration::ZERO);
    for (batch, begin) in (0..requests).step_by(BATCH).enumerate() {
        let mut clients = Vec::new();
        for number in begin..requests.min(begin + BATCH) {
            let mut client = Client::connect(RECORDED, number / 4)?;
            let forgery = bad(&forged(number));
            match number % 4 {
                0 => client.send([forgery.as_slice()])?,
                1 => client.send(forgery.chunks(1))?,
                // Half of them in the very segment of the good one.
                2 if number % 8 == 2 => {
                    client.send([[good(&known), forgery].concat().as_slice()])?;
                }
                2 => client.send([good(&known).as_slice(), &forgery])?,
                _ => client.send([bad(&changed(&known, number)).as_slice()])?,
            }
            clients.push(client);
        }
        // Good ones: new tokens, each used twice.
        let mut friends = Vec::new();
        for number in 0..10 {
            let mut friend = Client::connect(RECORDED, number)?;
            let request = good(&token(1 + 10 * batch + number));
            friend.send([request.as_slice()])?;
            friends.push((friend, request));
        }
        settle(&mut clients, BATCH_LIMIT, |_| false)?;
        reset += clients.iter().filter(|client| client.reset).count();
        for (friend, request) in &mut friends {
            settle(std::slice::from_mut(friend), LIMIT, |c| c.answers() > 0)?;
            asked += 2;
            answered += friend.answers() as u64;
            worst = worst.max(friend.ask(request)?);
            answered += 1;
        }
    }
    let after = ground.read();
    ground.stop(sensor)?;
    let title = format!("gate: forged requests ({})", SHAPES.join(", "));
    table.figure(title, thousands(float(requests as u64)));
    let read = after.0 - before.0;
    table.judged("  read by the service", read.to_string(), "0", read == 0);
    table.figure("  reset", thousands(float(reset as u64)));
    table.judged(
        "  good requests with new tokens, answered",
        format!("{} of {}", thousands(float(answered)), thousands(float(asked))),
        "all",
        answered == asked && after.1 - before.1 >= answered,
    );
    table.figure("  the longest second use of a token", format!("{worst:.1?}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::disguised;

    #[test]
    fn a_disguise_changes_no_byte_of_the_signature() {
        for number in 0..3_000 {
            let whole = disguised(number).concat();
            assert!(whole.starts_with(b"GET / HTTP/1.1\r\n") && whole.ends_with(b"\r\n\r\n"));
            assert!(disguised(number).len() <= 2);
        }
        assert_eq!(disguised(5)[0].len(), 5);
    }
}
