use crate::Result;
use crate::tables::Holds;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{
    AssertSqlSafe, FromRow, PgPool, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, SqlitePool,
    Transaction,
};

/// A statement with the values of its placeholders `$1`, `$2` and so on.
pub(crate) struct Sql {
    text: Text,
    values: Vec<Value>,
}

/// The text of a statement.
enum Text {
    Written(&'static str),
    Made(String),
}

impl SqlSafeStr for Text {
    fn into_sql_str(self) -> SqlStr {
        match self {
            Self::Written(text) => text.into_sql_str(),
            // Names of tables and columns, which are looked at before; values are never in it.
            Self::Made(text) => AssertSqlSafe(text).into_sql_str(),
        }
    }
}

/// A value. What is absent has a type, too: PostgreSQL wants to know it.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

/// Starts a statement.
pub(crate) const fn sql(text: &'static str) -> Sql {
    Sql { text: Text::Written(text), values: Vec::new() }
}

/// Starts a statement that was put together from names of ours.
pub(crate) const fn made(text: String) -> Sql {
    Sql { text: Text::Made(text), values: Vec::new() }
}

impl Sql {
    /// Gives the next placeholder its value.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds a condition, in which `@` stands for its value; nothing where that is empty. Only what applies is in the text,
    /// so that the database can choose an index for it.
    pub(crate) fn and(mut self, condition: &'static str, value: &str) -> Self {
        if value.is_empty() {
            return self;
        }
        self.values.push(value.into());
        let mark = format!("${}", self.values.len());
        self.more(&format!(" AND {}", condition.replace('@', &mark)))
    }

    /// Goes on to the end, with how many rows are wanted.
    pub(crate) fn end(mut self, text: &'static str, limit: i64) -> Self {
        self.values.push(limit.into());
        let mark = self.values.len();
        self.more(&format!(" {text} LIMIT ${mark}"))
    }

    fn more(mut self, text: &str) -> Self {
        self.text = Text::Made(match self.text {
            Text::Written(before) => format!("{before}{text}"),
            Text::Made(before) => before + text,
        });
        self
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<Option<&[u8]>> for Value {
    fn from(bytes: Option<&[u8]>) -> Self {
        Self::Bytes(bytes.map(<[u8]>::to_vec))
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(Some(bytes.to_vec()))
    }
}

/// What a row becomes, from either database.
pub(crate) trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{}

macro_rules! bound {
    ($query:expr, $values:expr) => {
        $values.into_iter().fold($query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
            Value::Bytes(bytes) => query.bind(bytes),
        })
    };
}

impl Sql {
    fn sqlite(self) -> Query<'static, Sqlite, SqliteArguments> {
        bound!(sqlx::query(self.text), self.values)
    }

    fn postgres(self) -> Query<'static, Postgres, PgArguments> {
        bound!(sqlx::query(self.text), self.values)
    }

    fn sqlite_as<T: Row>(self) -> QueryAs<'static, Sqlite, T, SqliteArguments> {
        bound!(sqlx::query_as(self.text), self.values)
    }

    fn postgres_as<T: Row>(self) -> QueryAs<'static, Postgres, T, PgArguments> {
        bound!(sqlx::query_as(self.text), self.values)
    }
}

/// Where statements that read are run.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    Postgres(PgPool),
}

impl Pool {
    pub(crate) async fn all<T: Row>(&self, sql: Sql) -> Result<Vec<T>> {
        Ok(match self {
            Self::Sqlite { readers, .. } => sql.sqlite_as().fetch_all(readers).await?,
            Self::Postgres(pool) => sql.postgres_as().fetch_all(pool).await?,
        })
    }

    /// # Errors
    /// [`Missing`](crate::Error::Missing) when there is no row.
    pub(crate) async fn one<T: Row>(&self, sql: Sql) -> Result<T> {
        Ok(match self {
            Self::Sqlite { readers, .. } => sql.sqlite_as().fetch_one(readers).await?,
            Self::Postgres(pool) => sql.postgres_as().fetch_one(pool).await?,
        })
    }
}

/// A transaction.
#[derive(Debug)]
pub(crate) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    /// How many rows were changed.
    pub(crate) async fn run(&mut self, sql: Sql) -> Result<u64> {
        Ok(match self {
            Self::Sqlite(tx) => sql.sqlite().execute(&mut **tx).await?.rows_affected(),
            Self::Postgres(tx) => sql.postgres().execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// # Errors
    /// [`Missing`](crate::Error::Missing) when there is no row.
    pub(crate) async fn one<T: Row>(&mut self, sql: Sql) -> Result<T> {
        Ok(match self {
            Self::Sqlite(tx) => sql.sqlite_as().fetch_one(&mut **tx).await?,
            Self::Postgres(tx) => sql.postgres_as().fetch_one(&mut **tx).await?,
        })
    }

    pub(crate) async fn all<T: Row>(&mut self, sql: Sql) -> Result<Vec<T>> {
        Ok(match self {
            Self::Sqlite(tx) => sql.sqlite_as().fetch_all(&mut **tx).await?,
            Self::Postgres(tx) => sql.postgres_as().fetch_all(&mut **tx).await?,
        })
    }

    /// Rows whose columns hold this.
    pub(crate) async fn values(&mut self, sql: Sql, holds: &[Holds]) -> Result<Vec<Vec<Value>>> {
        macro_rules! cells {
            ($rows:expr) => {{
                let mut all = Vec::new();
                for row in $rows {
                    let cells = holds.iter().enumerate().map(|(at, holds)| {
                        Ok(match holds {
                            Holds::Text => Value::Text(row.try_get(at)?),
                            Holds::Number => Value::Number(row.try_get(at)?),
                            Holds::Bytes => Value::Bytes(row.try_get(at)?),
                        })
                    });
                    all.push(cells.collect::<Result<Vec<Value>>>()?);
                }
                all
            }};
        }
        Ok(match self {
            Self::Sqlite(tx) => cells!(sql.sqlite().fetch_all(&mut **tx).await?),
            Self::Postgres(tx) => cells!(sql.postgres().fetch_all(&mut **tx).await?),
        })
    }

    /// Runs several statements without values, which are ours.
    pub(crate) async fn script(&mut self, text: String) -> Result<()> {
        let text = AssertSqlSafe(text);
        match self {
            Self::Sqlite(tx) => sqlx::raw_sql(text).execute(&mut **tx).await.map(drop)?,
            Self::Postgres(tx) => sqlx::raw_sql(text).execute(&mut **tx).await.map(drop)?,
        }
        Ok(())
    }

    pub(crate) async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}
