//! What many parts of a config go by, made before them.

use crate::inputs::Inputs;
use crate::{access, egress, geo, stores};
use base::Report;
use model::Config;
use model::balance::parse_name_server;
use policy::access::Access;
use policy::geo::Geo;
use policy::store::Stores;
use std::sync::Arc;
use traffic::Outbound;
use traffic::names::Names;

/// What many parts of a config go by.
pub(crate) struct Shared {
    pub(crate) outbound: Arc<dyn Outbound>,
    access: Arc<Access>,
    pub(crate) stores: Arc<Stores>,
    names: Arc<dyn Names>,
    geo: Option<Arc<Geo>>,
}

impl Shared {
    /// Makes it as the config says.
    pub(crate) fn compile(config: &Config, inputs: Inputs<'_>, report: &mut Report) -> Self {
        // What is wrong with one was reported by the model.
        let servers = config.dns.servers.iter().filter_map(|server| parse_name_server(server).ok());
        Self {
            outbound: egress::compile(config, inputs, report),
            access: Arc::new(access::compile(config, None)),
            stores: stores::compile(config, inputs, report),
            geo: geo::compile(config, inputs, report),
            names: upstream::names(&servers.collect::<Vec<_>>(), inputs.world),
        }
    }

    /// The same inputs with it.
    pub(crate) fn given<'a>(&'a self, inputs: Inputs<'a>) -> Inputs<'a> {
        let Self { outbound, access, stores, names, geo } = self;
        let inputs = Inputs { outbound: Some(outbound), access: Some(access), ..inputs };
        Inputs { stores: Some(stores), names: Some(names), geo: geo.as_ref(), ..inputs }
    }
}
