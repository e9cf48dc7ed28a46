import '@hono/zod-openapi'

// Gives zod schemas their `.openapi()`. Schemas made before this ran have none, so programs import it before all else.
