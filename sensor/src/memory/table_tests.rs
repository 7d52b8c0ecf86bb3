use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Default)]
struct Item {
    key: u128,
    end: Second,
}

impl Entry for Item {
    fn key(&self) -> u128 {
        self.key
    }

    fn deadline(&self) -> Second {
        self.end
    }
}

fn spread(key: u8) -> u128 {
    u128::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

const START: Second = 1 << 20;

proptest! {
    /// Against a plain map: nothing that isn't past its end goes while there is room, what goes
    /// is counted, and the indexes agree.
    #[test]
    fn keeps_what_a_map_keeps(
        limit in 1_usize..20,
        steps in prop::collection::vec((any::<u8>(), 0_u32..400, 0_u32..2_000, any::<bool>()), 1..200),
    ) {
        let mut table = Table::new(limit);
        let mut oracle: HashMap<u128, Second> = HashMap::new();
        let mut now = START;
        let (mut age, mut size) = (0, 0);
        for (key, pass, life, proven) in steps {
            now += pass * pass / 100;
            let gone = std::cell::RefCell::new(Vec::new());
            let mut note = |_: u32, e: &Item| gone.borrow_mut().push((e.key, e.end));
            table.expire(now, &mut note);
            let key = spread(key % 32);
            let end = now + life;
            match table.find(key) {
                Some(slot) => {
                    prop_assert!(oracle.contains_key(&key));
                    // Ends move later only.
                    let item = table.get_mut(slot).unwrap();
                    item.end = item.end.max(end);
                    if proven { table.promote(slot); }
                }
                None => {
                    prop_assert!(!oracle.contains_key(&key) || gone.borrow().iter().any(|g| g.0 == key));
                    let class = if proven { Class::Proven } else { Class::Unproven };
                    let slot = table.insert(now, Item { key, end }, class, &mut note);
                    prop_assert_eq!(table.find(key), Some(slot));
                }
            }
            let full = oracle.len() >= limit;
            for (key, end) in gone.into_inner() {
                prop_assert_eq!(oracle.remove(&key), Some(end));
                // Past its end to the width of a bucket, or there was no room.
                if end / TICK < now / TICK { age += 1 } else { prop_assert!(full); size += 1 }
            }
            let end = oracle.get(&key).map_or(end, |&e| e.max(end));
            oracle.insert(key, end);
            prop_assert!(table.len() <= limit);
            prop_assert_eq!(table.len(), oracle.len());
            prop_assert_eq!(table.iter().count(), oracle.len());
            for (&key, &end) in &oracle {
                prop_assert_eq!(table.get(table.find(key).unwrap()).unwrap().end, end);
            }
            prop_assert_eq!(table.counts.iter().sum::<usize>(), oracle.len());
            prop_assert_eq!(table.forgotten, Forgotten { age, size });
        }
    }
}

#[test]
fn a_flood_of_unproven_entries_displaces_none_that_are_proven() {
    let mut table = Table::new(1_000);
    for key in 0..700_u128 {
        let item = Item { key, end: START + 100 };
        table.insert(START, item, Class::Proven, &mut |_, _| {});
    }
    for key in 0..50_000_u128 {
        let item = Item { key: 1_000 + key, end: START + 80_000 };
        table.insert(START, item, Class::Unproven, &mut |_, _| {});
    }
    assert!((0..700).all(|key| table.find(key).is_some()));
    assert_eq!(table.forgotten, Forgotten { age: 0, size: 49_700 });
    // After a leap of the clock all go, a few with each step.
    for _ in 0..100 {
        table.expire(START + 1_000_000, &mut |_, _| {});
    }
    assert_eq!((table.len(), table.forgotten.age), (0, 1_000));
}

#[test]
fn changed_entries_come_out_once() {
    let mut table = Table::new(10);
    let slot = table.insert(START, Item { key: 7, end: START + 9 }, Class::Proven, &mut |_, _| {});
    table.mark(slot);
    assert_eq!(table.take_changed().map(|i| i.key), Some(7));
    assert!(table.take_changed().is_none());
    table.mark(slot);
    for _ in 0..9 {
        table.expire(START + 100, &mut |_, _| {});
    }
    assert!(table.take_changed().is_none());
}
