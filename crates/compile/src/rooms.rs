//! What the names in a workspace stand for. The platform has a room of its own, which is the whole house.

use crate::inputs::{Behind, Inputs};
use crate::upstreams::Upstreams;
use crate::{access, egress, plans};
use base::Report;
use model::Config;
use model::join::{Part, split};
use policy::access::Access;
use policy::plan::Plans;
use std::sync::Arc;
use traffic::directory::Directory;
use traffic::{Outbound, State};

/// What is made for one workspace.
pub(crate) struct Furniture<'a> {
    pub(crate) part: &'a Part,
    outside: Behind<'a>,
    state: State,
    directory: Arc<Directory>,
    outbound: Arc<dyn Outbound>,
    access: Arc<Access>,
}

impl<'a> Furniture<'a> {
    /// For one workspace of a config.
    pub(crate) fn new(config: &Config, part: &'a Part, inputs: Inputs<'a>) -> Self {
        let name = part.name.as_str();
        Self {
            part,
            outside: Behind { outside: inputs.outside, workspace: name },
            state: inputs.state.within(name),
            directory: Arc::new(inputs.directory.within(name)),
            outbound: egress::of_workspace(config, (name, !part.may_go_inward), inputs),
            access: Arc::new(access::compile(config, Some(name))),
        }
    }

    /// What the workspace's own parts are compiled with.
    pub(crate) fn inputs<'i>(&'i self, inputs: Inputs<'i>) -> Inputs<'i> {
        Inputs {
            outside: &self.outside,
            state: &self.state,
            directory: &self.directory,
            outbound: Some(&self.outbound),
            access: Some(&self.access),
            // Counts that gateways share are the platform's.
            stores: None,
            ..inputs
        }
    }
}

/// What policies are built with.
#[derive(Clone, Copy)]
pub(crate) struct Room<'a> {
    /// Whose names stand in the policies; the platform's if there is none.
    pub(crate) workspace: Option<&'a str>,
    pub(crate) upstreams: &'a Upstreams,
    pub(crate) plans: &'a Arc<Plans>,
    pub(crate) inputs: Inputs<'a>,
    /// Where it is remembered who failed to be identified, and who was.
    pub(crate) identities: &'a State,
}

/// What one workspace, or the platform, is compiled with.
pub(crate) struct Household<'a> {
    /// None is the platform's.
    pub(crate) furniture: Option<&'a Furniture<'a>>,
    upstreams: Upstreams,
    pub(crate) plans: Arc<Plans>,
    inputs: Inputs<'a>,
    of_all: Inputs<'a>,
}

impl<'a> Household<'a> {
    /// Its upstreams, of those of all, and its plans.
    pub(crate) fn new(
        config: &Config,
        furniture: Option<&'a Furniture<'a>>,
        all: &Upstreams,
        of_all: Inputs<'a>,
        report: &mut Report,
    ) -> Self {
        let workspace = furniture.map(|furniture| furniture.part.name.as_str());
        let own = all.iter().filter_map(|(name, upstream)| {
            let (of, name) = split(name);
            (of == workspace).then(|| (name.to_owned(), upstream.clone()))
        });
        let inputs = furniture.map_or(of_all, |furniture| furniture.inputs(of_all));
        let plans = plans::compile(config, workspace, inputs, report);
        Self { furniture, upstreams: own.collect(), plans, inputs, of_all }
    }

    /// The name of the workspace.
    pub(crate) fn workspace(&self) -> Option<&'a str> {
        self.furniture.map(|furniture| furniture.part.name.as_str())
    }

    /// What its own policies are built with.
    pub(crate) fn room(&self) -> Room<'_> {
        Room {
            workspace: self.workspace(),
            upstreams: &self.upstreams,
            plans: &self.plans,
            inputs: self.inputs,
            identities: self.inputs.state,
        }
    }

    /// What the platform's policies for all routes are built with here: names in them are the platform's, but callers
    /// are those of the workspace. What they count, they count for all workspaces together.
    pub(crate) fn gateway<'r>(&'r self, platform: &'r Self) -> Room<'r> {
        let inputs =
            Inputs { directory: self.inputs.directory, access: self.inputs.access, ..self.of_all };
        Room {
            workspace: None,
            upstreams: &platform.upstreams,
            plans: &self.plans,
            inputs,
            identities: self.inputs.state,
        }
    }
}
