/**
 * Imported before anything that reads it. Elysia makes the text of its validation errors, which nobody is shown, of the very value
 * that is refused, unless it runs in production: `{"toString":1}` in the place of a text is then an error of its own. Whatever the
 * surroundings say, since it is the same program; and by this name, since the build puts a constant in the place of the other.
 */
Bun.env['NODE_ENV'] = 'production'
