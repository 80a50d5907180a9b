//! What control derived from the health of hosts since a snapshot was built, and what it replaced.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use ringway_config::Name;

use crate::cluster::{ClusterSets, ClusterSpec};
use crate::snapshot::Snapshot;

#[derive(Default)]
pub(super) struct Derived {
    last: Option<Arc<Snapshot>>,
    /// The newest of each cluster whose health has changed, with the version that it is of.
    sets: HashMap<Name, (Arc<ClusterSpec>, Arc<ClusterSets>)>,
    /// Held until no core does, so that taking something large apart is never a core's work.
    replaced: Vec<Arc<dyn Any + Send + Sync>>,
}

impl Derived {
    /// What the health that these hosts (their slots) now have makes of a cluster.
    pub(super) fn derive(&mut self, spec: &Arc<ClusterSpec>, changed: &[u32]) -> Arc<ClusterSets> {
        let name = &spec.config.name;
        let last = self.sets.get(name);
        let last = last.filter(|(of, _)| Arc::ptr_eq(of, spec));
        let last = last.map_or(&spec.sets, |(_, sets)| sets);
        let sets = spec.derive(last, changed);
        let entry = (Arc::clone(spec), Arc::clone(&sets));
        if let Some((_, old)) = self.sets.insert(name.clone(), entry) {
            self.bury(old);
        }
        sets
    }

    /// A new snapshot is about to be sent: what was derived of clusters that it has in another version is out of date.
    pub(super) fn follow(&mut self, snapshot: &Arc<Snapshot>) {
        let is_there = |name: &Name, spec: &Arc<ClusterSpec>| {
            let cluster = snapshot.cluster(name);
            cluster.is_some_and(|cluster| Arc::ptr_eq(cluster, spec))
        };
        self.sets.retain(|name, (spec, _)| is_there(name, spec));
        if let Some(last) = self.last.replace(Arc::clone(snapshot)) {
            self.bury(last);
        }
    }

    fn bury(&mut self, replaced: Arc<dyn Any + Send + Sync>) {
        self.tidy();
        self.replaced.push(replaced);
    }

    /// Lets go of what no core holds any more.
    pub(super) fn tidy(&mut self) {
        self.replaced.retain(|old| Arc::strong_count(old) > 1);
    }
}
