import { pgTable, text, varchar } from 'drizzle-orm/pg-core'

/** Facts of the database itself, such as how far the journal has been taken in. */
export const storeFacts = pgTable('store_facts', {
  name: varchar('name', { length: 63 }).primaryKey(),
  value: text('value').notNull(),
})
