//! From configs to reports, to routes, and to what is served.

#[cfg(test)]
mod it {
    /// A compiler with everything around it.
    mod kit;
    /// Configs and the reports they give.
    mod golden;
    /// What stands around the golden configs.
    mod surroundings;
    /// A broken part answers 503 and is never open.
    mod broken;
    /// How the gateway's own requests leave.
    mod egress;
    /// Which route a request takes, told in words.
    mod explain;
    /// Ids of state, over many compilations.
    mod ids;
    /// Many routes.
    mod many;
    /// APIs that are reached past a certificate.
    mod reach;
}
