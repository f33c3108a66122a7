use super::kit::Outer;
use testkit::Surroundings;

/// The codes of what is wrong with these lines of a config, and the report as text.
fn problems(lines: &str) -> (Vec<String>, String) {
    let config =
        format!("version: 1\nlisteners: {{ public: {{ bind: '127.0.0.1:1' }} }}\n{lines}\n");
    let around = Surroundings::of(&config).env("PASSWORD", "hush");
    let (_, report) = Outer::new().compile("yett.yaml", &around);
    let errors = report.problems().iter().filter(|p| p.severity == base::Severity::Error);
    (errors.map(|p| p.code.to_owned()).collect(), report.to_string())
}

#[test]
fn ways_out_are_read_or_refused_without_repeating_a_secret() {
    for (lines, codes) in [
        ("egress: { proxy: 'http://proxy:3128', no_proxy: [.internal, 10.0.0.0/8] }", &[][..]),
        ("egress: { proxy: 'http://u:${env:PASSWORD}@[::1]:3128/' }", &[]),
        ("egress: { proxy: 'http://u:${env:PASSWORD}@proxy' }", &["bad_proxy"]),
        ("egress: { proxy: 'http://u:word@proxy:3128' }", &["bad_proxy"]),
        ("egress: { proxy: 'https://proxy:3128' }", &["bad_proxy"]),
        ("egress: { proxy: 'http://${env:NOBODY}@proxy:3128' }", &["missing_secret"]),
        ("egress: { no_proxy: ['10.0.0.0/33'] }", &["bad_no_proxy"]),
        ("egress: { ca: nowhere.pem }", &["unreadable_file"]),
        ("upstreams: { a: { targets: ['127.0.0.1:1'], proxy: 'proxy:3128' } }", &["bad_proxy"]),
    ] {
        let (found, report) = problems(lines);
        assert_eq!(found, codes, "{lines}: {report}");
        assert!(!report.contains("hush"), "{report}");
    }
}
