//! Which shards may be read: those whose parents have been read to their end.

use std::collections::HashMap;

use tributary_aws::tail::Shard;

/// Every shard that was ever heard of.
#[derive(Debug, Default)]
pub(super) struct Lineage(HashMap<String, Known>);

#[derive(Debug)]
struct Known {
    parents: Vec<String>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Begun,
    Ended,
}

impl Lineage {
    /// Adds shards, and gives those that may be read now, which then count as begun: a record of a key
    /// comes after those that its parents had. A parent that nobody has heard of is long gone.
    pub(super) fn add(&mut self, shards: impl IntoIterator<Item = Shard>) -> Vec<String> {
        for Shard { id, parents, .. } in shards {
            self.0.entry(id).or_insert(Known { parents, state: State::Waiting });
        }
        self.ready()
    }

    /// A shard was read to its end; the others that may be read now.
    pub(super) fn ended(
        &mut self,
        shard: &str,
        children: impl IntoIterator<Item = Shard>,
    ) -> Vec<String> {
        if let Some(known) = self.0.get_mut(shard) {
            known.state = State::Ended;
        }
        self.add(children)
    }

    /// How many shards have been begun.
    pub(super) fn begun(&self) -> usize {
        self.0.values().filter(|known| known.state != State::Waiting).count()
    }

    fn ready(&mut self) -> Vec<String> {
        let has_ended =
            |parent: &String| self.0.get(parent).is_none_or(|it| it.state == State::Ended);
        let waiting = self.0.iter().filter(|(_, known)| known.state == State::Waiting);
        let mut ready: Vec<String> = waiting
            .filter(|(_, known)| known.parents.iter().all(has_ended))
            .map(|(id, _)| id.clone())
            .collect();
        ready.sort();
        for id in &ready {
            if let Some(known) = self.0.get_mut(id) {
                known.state = State::Begun;
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str]) -> Shard {
        let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
        Shard { id: id.to_owned(), parents, is_open: true }
    }

    #[test]
    fn children_wait_for_their_parents() {
        let mut lineage = Lineage::default();
        let shards = [shard("b", &["a"]), shard("a", &["gone"]), shard("c", &["a"])];

        assert_eq!(lineage.add(shards), ["a"]);
        assert_eq!(lineage.ended("a", []), ["b", "c"]);
    }

    #[test]
    fn a_merged_shard_waits_for_both() {
        let mut lineage = Lineage::default();
        assert_eq!(lineage.add([shard("a", &[]), shard("b", &[])]), ["a", "b"]);

        assert!(lineage.ended("a", [shard("c", &["a", "b"])]).is_empty());
        assert_eq!(lineage.ended("b", [shard("c", &["a", "b"])]), ["c"]);
        assert!(lineage.ended("c", []).is_empty());
        assert_eq!(lineage.begun(), 3);
    }

    #[test]
    fn a_shard_is_begun_once() {
        let mut lineage = Lineage::default();
        assert_eq!(lineage.add([shard("a", &[])]), ["a"]);
        assert!(lineage.add([shard("a", &[])]).is_empty());
        assert_eq!(lineage.ended("a", [shard("b", &["a"])]), ["b"]);
        assert!(lineage.ended("a", [shard("b", &["a"])]).is_empty());
    }
}
