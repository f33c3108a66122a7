//! The databases of places that all share.

use crate::inputs::{FilesAt, Inputs};
use base::Report;
use model::Config;
use policy::files::Library;
use policy::geo::Geo;
use std::sync::Arc;

/// Opens them. With a broken one there are none, and whatever asks for them is broken, too.
pub(crate) fn compile(
    config: &Config,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<Arc<Geo>> {
    let written = &config.geo.as_ref()?.database.0;
    if written.is_empty() {
        return None;
    }
    let Inputs { outside, state, metrics, clock, .. } = inputs;
    let opened: Vec<_> = written
        .iter()
        .enumerate()
        .map(|(at, file)| {
            let files = FilesAt { outside, place: &file.place };
            let library = Library { files: &files, state, metrics, clock };
            let pointer = format!("/geo/database/{at}");
            Geo::open(&file.value, library, (&file.place, &pointer), report)
        })
        .collect();
    Some(Arc::new(Geo::new(opened.into_iter().collect::<Option<_>>()?)))
}
