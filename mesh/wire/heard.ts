import { z } from 'zod'
import { gatewaySummarySchema, serviceSummarySchema } from '#mesh/wire/report.ts'

/** Unix ms by the centre's clock: never taken from a report. */
const since = z.number().int().nonnegative().exactOptional()

const flatEndpoint = serviceSummarySchema.shape.flat.unwrap().element.extend({ since })
const gateway = gatewaySummarySchema.shape.gateways.element.extend({ since })

/** A summary as the centre keeps it and hands it on: with the time from which on it knows each pod's address. */
export const heardSummarySchema = serviceSummarySchema.extend({ flat: z.array(flatEndpoint).max(1000).exactOptional() })

/** A list of gateways, likewise. */
export const heardGatewaysSchema = gatewaySummarySchema.extend({ gateways: z.array(gateway).max(64) })
