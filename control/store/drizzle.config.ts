import { defineConfig } from 'drizzle-kit'

/** `drizzle-kit generate --config control/store/drizzle.config.ts --name <what>` writes the next migration; commit it. */
export default defineConfig({
  dialect: 'postgresql',
  schema: './control/store/schema/*.ts',
  out: './control/store/migrations',
})
