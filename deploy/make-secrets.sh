#!/bin/sh
# Makes the secrets that compose.yaml mounts, in deploy/secrets. What is there already is kept: other data depends on it.
# BINGO_MAIL_URL is the mail server; without it messages wait, and secrets/mail_url can be written later.
# BINGO_TELEGRAM_TOKEN and BINGO_DISCORD_TOKEN are the bot's; what is empty is written when it is said, at any time.
set -eu
umask 077
mkdir -p "$(dirname "$0")/secrets"
cd "$(dirname "$0")/secrets"

keep() {
  # $1 name, standard input the value. Nobody else can enter the folder; the files themselves are read by users of containers.
  [ -s "$1" ] || { cat >"$1.new" && chmod 644 "$1.new" && mv "$1.new" "$1"; }
}
hex() { head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n'; }

hex | keep mysql_root_password
hex | keep mysql_password
hex | keep redis_password
head -c 32 /dev/urandom | base64 | keep auth_key
printf 'mysql://bingo:%s@mysql:3306/bingo' "$(cat mysql_password)" | keep database_url
printf 'redis://:%s@redis:6379' "$(cat redis_password)" | keep redis_url
[ -e mail_url ] || [ -n "${BINGO_MAIL_URL:-}" ] || echo "make-secrets: messages wait until $(pwd)/mail_url names a mail server: smtp://user:password@host:587" >&2
printf '%s' "${BINGO_MAIL_URL:-smtp://mail.invalid:587}" | keep mail_url
printf '%s' "${BINGO_TELEGRAM_TOKEN:-}" | keep telegram_token
printf '%s' "${BINGO_DISCORD_TOKEN:-}" | keep discord_token
