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
    /// What a config comes to, and what a change of it means.
    mod effective;
    /// Which route a request takes, told in words.
    mod explain;
    /// Ids of state, over many compilations.
    mod ids;
    /// Many routes.
    mod many;
    /// APIs that are reached past a certificate.
    mod reach;
}
