//! Desired filters that a new connection has to ask for.

use std::sync::Arc;

use super::{Item, Kind, Standing, Subscriptions};
use crate::Properties;
use crate::session::event::NO_TOKEN;

impl Subscriptions {
    /// Our own requests for desired filters that no request of the application covers, in the order in which they came.
    pub(super) fn ask_again(&mut self) {
        let covered: Vec<&str> = self
            .requests
            .iter()
            .filter(|r| r.kind == Kind::Subscribe)
            .flat_map(|r| r.items.iter().filter(|i| i.code.is_none()).map(|i| i.filter.as_str()))
            .collect();
        let mut missing: Vec<_> = self
            .desired
            .iter()
            .filter(|(filter, d)| {
                d.standing == Standing::Unconfirmed && !covered.contains(&filter.as_str())
            })
            .collect();
        missing.sort_by_key(|(_, d)| d.order);
        let mut groups: Vec<(Arc<Properties>, Vec<Item>)> = Vec::new();
        for (filter, d) in missing {
            let item = Item {
                filter: filter.clone(),
                options: d.options,
                identifier: d.identifier,
                known: None,
                code: None,
            };
            match groups.last_mut() {
                Some((properties, items)) if *properties == d.properties => items.push(item),
                _ => groups.push((Arc::clone(&d.properties), vec![item])),
            }
        }
        for (properties, items) in groups {
            self.request(Kind::Subscribe, items, properties, NO_TOKEN, 0, true);
        }
    }
}
