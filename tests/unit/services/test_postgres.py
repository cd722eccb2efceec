"""x."""
from fittengate.services.postgres import PostgresServer
from fittengate.services.store import Database
def test_a(postgres, postgres_server):
    """x."""
    database = Database(PostgresServer(postgres))
    with database.begin() as c:
        print(c.exec_driver_sql("select version_num from alembic_version").scalar())
    database.close()
