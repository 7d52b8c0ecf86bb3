//! JSON objects with unique member names, as RFC 7515, section 4 and RFC 7517, section 4 ask.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// The most members read of one object.
const MAX_MEMBERS: usize = 256;

/// The member names of an object, each once.
pub(super) struct Names(pub(super) Vec<String>);

impl Names {
    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|known| known == name)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;

        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Names(Vec::new());
                while let Some((name, IgnoredAny)) = map.next_entry::<String, _>()? {
                    if names.0.len() == MAX_MEMBERS || names.contains(&name) {
                        return Err(A::Error::custom("duplicate or too many members"));
                    }
                    names.0.push(name);
                }
                Ok(names)
            }
        }

        deserializer.deserialize_map(NamesVisitor)
    }
}
