//! The control plane's database of one world: a file of its own, or a database of
//! its own on the server that `scripts/test` starts.

use kit::{Chance, Vars};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Where the Postgres half of the tests finds its server.
const SERVER: &str = "BIFROST_TEST_POSTGRES_URL";

/// Who owns the databases, as an operator's own would: no superuser, whom row-level security lets pass.
const ROLE: &str = "bifrost_test";
/// Several tests may try at once.
const MAKE_ROLE: &str = "DO $$ BEGIN CREATE ROLE bifrost_test LOGIN PASSWORD 'bifrost_test'; \
                         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";

/// A database on the Postgres server of the tests.
#[derive(Debug)]
pub(crate) struct Postgres {
    server: String,
    name: String,
}

impl Postgres {
    pub(crate) async fn create(chance: &Chance) -> Self {
        let vars = Vars::from_process();
        let server = vars.text(SERVER).expect("set BIFROST_TEST_POSTGRES_URL, or run scripts/test").to_owned();
        let created = Self { server, name: format!("world_{}", chance.hex::<8>()) };
        created.admin(MAKE_ROLE).await;
        created.admin(&format!("CREATE DATABASE {} OWNER {ROLE}", created.name)).await;
        created
    }

    pub(crate) fn url(&self) -> String {
        let place = self.server.rsplit_once('@').and_then(|(_, place)| place.split_once('/'));
        let (host, _) = place.expect("an address such as postgres://user@host:port/postgres");
        format!("postgres://{ROLE}:{ROLE}@{host}/{}", self.name)
    }

    pub(crate) async fn drop(&self) {
        self.admin(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }

    async fn admin(&self, statement: &str) {
        let mut connection = PgConnection::connect(&self.server).await.expect("the test server answers");
        let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await;
        done.expect("the test server obeys");
        connection.close().await.expect("closes");
    }
}
