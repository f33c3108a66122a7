//! The tables of a dump, with their columns.

use crate::sql::{Sql, Value, made};

/// Rows read at once.
const PAGE: usize = 500;

/// What the columns of a table hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Texts.
    Text,
    /// Whole numbers.
    Number,
    /// Bytes.
    Bytes,
}

use Holds::{Bytes, Number, Text};

/// A table of a dump.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns; the first `key` ones tell rows apart.
    pub columns: &'static [(&'static str, Holds)],
    key: usize,
}

/// The tables of a dump, each after those that it refers to. What is only of the moment is not among them: events of the
/// outbox, leases, and answers that are kept for a day.
pub const TABLES: &[Table] = &[
    Table {
        name: "workspace",
        key: 1,
        columns: &[
            ("id", Text),
            ("name", Text),
            ("title", Text),
            ("grants", Text),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
        ],
    },
    Table {
        name: "audit",
        key: 1,
        columns: &[
            ("id", Number),
            ("at_ms", Number),
            ("workspace", Text),
            ("actor", Text),
            ("action", Text),
            ("noun", Text),
            ("subject", Text),
            ("was", Text),
            ("became", Text),
            ("address", Text),
            ("request", Text),
            ("sequence", Number),
            ("seal", Bytes),
        ],
    },
    Table {
        name: "object",
        key: 1,
        columns: &[
            ("id", Text),
            ("workspace", Text),
            ("kind", Text),
            ("owner", Text),
            ("name", Text),
            ("position", Number),
            ("body", Text),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
        ],
    },
    Table {
        name: "revision",
        key: 2,
        columns: &[
            ("workspace", Text),
            ("number", Number),
            ("config", Text),
            ("digest", Bytes),
            ("note", Text),
            ("author", Text),
            ("again", Number),
            ("created_ms", Number),
        ],
    },
    Table {
        name: "yett_user",
        key: 1,
        columns: &[
            ("id", Text),
            ("name", Text),
            ("email", Text),
            ("password", Text),
            ("totp", Bytes),
            ("issuer", Text),
            ("subject", Text),
            ("is_disabled", Number),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
        ],
    },
    Table {
        name: "role",
        key: 1,
        columns: &[
            ("id", Text),
            ("name", Text),
            ("permissions", Text),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
            ("about", Text),
        ],
    },
    Table {
        name: "role_grant",
        key: 3,
        columns: &[("holder", Text), ("workspace", Text), ("role", Text)],
    },
    Table {
        name: "second_factor",
        key: 1,
        columns: &[
            ("holder", Text),
            ("is_confirmed", Number),
            ("step", Number),
            ("codes", Text),
            ("created_ms", Number),
        ],
    },
    Table {
        name: "login",
        key: 1,
        columns: &[
            ("hash", Bytes),
            ("id", Text),
            ("holder", Text),
            ("kind", Text),
            ("name", Text),
            ("scopes", Text),
            ("created_ms", Number),
            ("expires_ms", Number),
            ("used_ms", Number),
        ],
    },
    Table {
        name: "consumer",
        key: 1,
        columns: &[
            ("id", Text),
            ("workspace", Text),
            ("name", Text),
            ("body", Text),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
            ("title", Text),
            ("plan", Text),
            ("is_suspended", Number),
            ("search", Text),
        ],
    },
    Table { name: "consumer_group", key: 2, columns: &[("consumer", Text), ("name", Text)] },
    Table {
        name: "application",
        key: 1,
        columns: &[
            ("id", Text),
            ("consumer", Text),
            ("name", Text),
            ("body", Text),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
            ("workspace", Text),
            ("title", Text),
            ("plan", Text),
            ("is_suspended", Number),
            ("search", Text),
        ],
    },
    Table {
        name: "credential",
        key: 1,
        columns: &[
            ("id", Text),
            ("workspace", Text),
            ("consumer", Text),
            ("application", Text),
            ("kind", Text),
            ("name", Text),
            ("hash", Bytes),
            ("hint", Text),
            ("body", Text),
            ("password", Text),
            ("master", Number),
            ("wrapped", Bytes),
            ("sealed", Bytes),
            ("from_ms", Number),
            ("expires_ms", Number),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
        ],
    },
    Table {
        name: "tally",
        key: 2,
        columns: &[("workspace", Text), ("noun", Text), ("count", Number)],
    },
    Table {
        name: "setting",
        key: 1,
        columns: &[("name", Text), ("body", Text), ("revision", Number), ("updated_ms", Number)],
    },
    Table {
        name: "secret",
        key: 1,
        columns: &[
            ("id", Text),
            ("workspace", Text),
            ("name", Text),
            ("master", Number),
            ("wrapped", Bytes),
            ("sealed", Bytes),
            ("revision", Number),
            ("created_ms", Number),
            ("updated_ms", Number),
        ],
    },
];

/// The same of tables whose rows may be large: whole configs.
const PAGE_OF_LARGE: usize = 8;

impl Table {
    /// Rows read at once.
    pub(crate) fn at_once(&self) -> usize {
        let is_large = self.columns.iter().any(|(name, _)| *name == "config");
        if is_large { PAGE_OF_LARGE } else { PAGE }
    }

    /// Reads rows, from the first after the one with the key of a row; from the very first without one.
    pub(crate) fn page(&self, after: Option<&[Value]>) -> Sql {
        let columns = list(self.columns.iter().map(|(name, _)| *name));
        let key = list(self.columns.iter().take(self.key).map(|(name, _)| *name));
        let (name, most) = (self.name, self.at_once());
        let Some(after) = after else {
            return made(format!("SELECT {columns} FROM {name} ORDER BY {key} LIMIT {most}"));
        };
        let marks = (1..=self.key).map(|at| format!("${at}")).collect::<Vec<_>>().join(", ");
        let text = format!(
            "SELECT {columns} FROM {name} WHERE ({key}) > ({marks}) ORDER BY {key} LIMIT {most}"
        );
        after.iter().take(self.key).cloned().fold(made(text), Sql::bind)
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
