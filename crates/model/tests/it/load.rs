use crate::files::Memory;
use crate::golden::shown;
use base::caps::CONFIG_FILES_MAX;
use model::{Loaded, load};

fn loaded(root: &str, files: &[(&str, &str)]) -> Loaded {
    load(root, &Memory::new(files))
}

fn report(root: &str, files: &[(&str, &str)]) -> String {
    shown(&loaded(root, files).report)
}

const BASE: &str = "version: 1\nlisteners: { web: { bind: 0.0.0.0:80 } }\n";
const API: &str =
    "version: 1\nupstreams: { one: { targets: [a:1] } }\napis: { one: { upstream: one } }\n";

#[test]
fn the_files_of_a_folder_make_one_config() {
    let files = [
        ("etc/b.yml", API),
        ("etc/a.yaml", BASE),
        ("etc/notes.txt", "not a config"),
        ("etc/sub/c.yaml", "not: read"),
    ];
    let loaded = loaded("etc", &files);
    assert_eq!(shown(&loaded.report), "");
    assert_eq!(loaded.files, ["etc/a.yaml", "etc/b.yml"]);
    assert_eq!(loaded.sources.len(), 2);
    assert_eq!(&*loaded.sources[1].1, API);
    let config = loaded.config.unwrap();
    assert_eq!(config.apis.names().collect::<Vec<_>>(), ["one"]);
    assert_eq!(config.apis.iter().next().unwrap().0.place.to_string(), "etc/b.yml:3:9");
}

#[test]
fn included_files_are_merged_relative_to_the_including_one() {
    let files = [
        (
            "etc/main.yaml",
            &*format!("{BASE}policies: [a]\ninclude: [apis/*.yaml, ./main.yaml/../x.yaml]\n"),
        ),
        ("etc/apis/one.yaml", &*format!("{API}policies: [b]\ninclude: [../deep/y.yaml]\n")),
        ("etc/apis/two.yaml", "version: 1\napis:\nconsumers: { alice: }\n"),
        ("etc/x.yaml", "version: 1\npolicies: [c]\nworkers: 1\n"),
        (
            "etc/deep/y.yaml",
            "version: 1\napis: { two: { upstream: one, path: /two } }\npolicies: [d]\n",
        ),
    ];
    let loaded = loaded("etc/main.yaml", &files);
    assert_eq!(shown(&loaded.report), "");
    let config = loaded.config.unwrap();
    let kinds: Vec<_> = config.policies.iter().map(|policy| policy.kind.as_str()).collect();
    assert_eq!(kinds, ["a", "b", "d", "c"]);
    assert_eq!(config.apis.names().collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(
        loaded.files,
        [
            "etc/main.yaml",
            "etc/apis/one.yaml",
            "etc/deep/y.yaml",
            "etc/apis/two.yaml",
            "etc/x.yaml"
        ]
    );
}

#[test]
fn what_is_given_twice_names_both_places() {
    let files = [
        ("m.yaml", &*format!("{BASE}workers: 1\ninclude: [n.yaml]\n")),
        (
            "n.yaml",
            "version: 1\nworkers: 2\nlisteners: { web: { bind: 0.0.0.0:81 } }\npolicies: x\n",
        ),
    ];
    assert_eq!(
        report("m.yaml", &files),
        "\
n.yaml:2:1 error duplicate_key
  `workers` appears twice in the config
  help: it is already set at m.yaml:3:1
n.yaml:3:14 error duplicate_key
  `web` appears twice in the config
  help: it is already set at m.yaml:2:14
n.yaml:4:11 error wrong_type /policies
  expected a list, found the text `x`
  (no help)
"
    );
}

#[test]
fn includes_that_lead_nowhere_or_in_circles_are_told() {
    let main = format!(
        "{BASE}include: [none.yaml, 'x*/y.yaml', sub/n.yaml, m.yaml, sub/n.yaml, 'forbidden/*', 5, '*.yaml']\n"
    );
    let files =
        [("m.yaml", main.as_str()), ("sub/n.yaml", "version: 1\ninclude: [../m.yaml, '*.yaml']\n")];
    assert_eq!(
        report("m.yaml", &files),
        "\
m.yaml:3:11 error include_nothing
  there is no file `none.yaml`
  help: paths are relative to the file that includes them
m.yaml:3:22 error invalid_include
  `x*/y.yaml` does not name files
  help: name a file, or several with `*` in the last part: `apis/*.yaml`
m.yaml:3:47 error include_cycle
  `m.yaml` includes itself
  help: remove this line: the file is part of the config already
m.yaml:3:55 warning included_twice
  `sub/n.yaml` is part of the config already
  help: remove this line
m.yaml:3:67 error unreadable
  cannot look for `forbidden/*`: permission denied
  (no help)
sub/n.yaml:2:11 error include_cycle
  `m.yaml` includes itself
  help: remove this line: the file is part of the config already
"
    );
}

#[test]
fn a_root_that_cannot_be_read_is_told() {
    let unreadable = "none.yaml error unreadable\n  cannot read `none.yaml`: there is no such file\n  (no help)\n";
    assert_eq!(report("none.yaml", &[]), unreadable);
    assert!(report("forbidden", &[]).contains("cannot list the folder `forbidden`: permission"));
    assert!(
        report("etc", &[("etc/readme.txt", "")]).contains("there is no `*.yaml` file in `etc`")
    );
}

#[test]
fn what_a_broken_file_would_define_is_not_called_unknown() {
    let files = [
        (
            "m.yaml",
            &*format!("{BASE}include: [n.yaml]\napis: {{ one: {{ upstream: one, hots: [] }} }}\n"),
        ),
        ("n.yaml", "version: 1\nupstreams: [\n"),
    ];
    let loaded = loaded("m.yaml", &files);
    let codes: Vec<_> = loaded.report.problems().iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["unknown_field", "invalid_yaml"]);
    assert_eq!(loaded.sources.len(), 2, "the broken text can be shown");
}

#[test]
fn every_file_says_which_version_it_is_written_in() {
    let files = [
        ("m.yaml", &*format!("{BASE}include: [n.yaml, o.yaml]\n")),
        ("n.yaml", "apis: {}\n"),
        ("o.yaml", "version: 3\nwonders: {}\n"),
    ];
    assert_eq!(
        report("m.yaml", &files),
        "\
n.yaml:1:1 error missing_field
  `version` is missing
  help: begin each config file with `version: 1`
o.yaml:1:10 error newer_version
  this config is written in version 3 of the config language, but this program reads version 1 only
  help: install a newer release
"
    );
}

#[test]
fn the_number_of_files_is_capped() {
    let mut files = Memory::new(&[("m.yaml", &format!("{BASE}include: ['sub/*']\n"))]);
    for number in 0..CONFIG_FILES_MAX + 5 {
        files.add(&format!("sub/{number:04}.yaml"), b"version: 1\n".to_vec());
    }
    let loaded = load("m.yaml", &files);
    assert_eq!(loaded.files.len(), CONFIG_FILES_MAX);
    let codes: Vec<_> = loaded.report.problems().iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["too_many_files"]);
}

#[test]
fn one_conflict_among_ten_thousand_routes_is_found() {
    let mut text = format!("{BASE}upstreams: {{ one: {{ targets: [a:1] }} }}\napis:\n");
    for api in 0..100 {
        text.push_str(&format!(
            "  api{api}:\n    upstream: one\n    path: /api{api}\n    routes:\n"
        ));
        for route in 0..100 {
            text.push_str(&format!("      - GET /r{route}/{{id}}\n"));
        }
    }
    text.push_str(
        "  last:\n    upstream: one\n    routes: ['PUT /api7/r7/{x}', 'GET /api77/r77/{x}']\n",
    );
    assert_eq!(
        report("m.yaml", &[("m.yaml", &text)]),
        "\
m.yaml:10407:34 error route_conflict
  `GET /api77/r77/{x}` matches the same requests as `GET /api77/r77/{id}`
  help: the other is at m.yaml:8094:9; remove one, or tell them apart by host, method, header or query
"
    );
}
