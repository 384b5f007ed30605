#!/bin/sh
# What a new volume gets, as by the true image's entry point: a user, a database, the scripts.
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  chmod 700 "$PGDATA"
  printf %s "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-host=scram-sha-256 \
    --auth-local=trust --encoding=UTF8 --no-locale -D "$PGDATA"
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  {
    echo "listen_addresses = '*'"
    echo "unix_socket_directories = '/var/run/postgresql'"
  } >> "$PGDATA/postgresql.conf"
  pg_ctl start --wait -D "$PGDATA" -o "-c listen_addresses=''"
  query() { psql -v ON_ERROR_STOP=1 --host=/var/run/postgresql -U "$POSTGRES_USER" "$@"; }
  query -d postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
  for script in /docker-entrypoint-initdb.d/*.sql; do query -d "$POSTGRES_DB" -f "$script"; done
  pg_ctl stop --wait -m fast -D "$PGDATA"
fi
exec "$@"
