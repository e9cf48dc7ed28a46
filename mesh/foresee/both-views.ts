import { type Explanation, type Step, type StepName, stepNames } from '#mesh/model/explanation.ts'

/** One step as both see it: `false` where one of them found it so, `unknown` where neither can know. */
export type BothSeen = Step & {
  /**
   * Whose word this is: of a failure its finder's, else of whoever knows. Where both do it is the relay's, but the
   * centre's of a failure of what the fleet decides.
   */
  readonly by: Explanation['by']
  /** The other's, where he says the opposite. */
  readonly against?: Step
}

/**
 * The path of one call as centre and relay see it, either of whom may be absent. Where the relay leads such calls to other
 * clusters first than the centre thinks, the centre follows another path from there on, and its word counts no more: so
 * too for a Service of the caller's own cluster, which is none of its business.
 */
export function bothViews(centre: Explanation | undefined, relay: Explanation | undefined): readonly BothSeen[] {
  return stepNames.flatMap((step) => {
    const isShared = !centre || !relay || sharesStep(step, centre, relay)
    const words = (isShared ? [relay, centre] : [relay]).flatMap((view) =>
      view ? view.steps.filter((one) => one.step === step).map((word) => ({ ...word, by: view.by })) : [],
    )
    const failing = words.filter(({ ok }) => ok === false)
    const told = (isOfFleet(step) ? failing.at(-1) : failing[0]) ?? words.find(({ ok }) => ok === true) ?? words[0]
    if (!told) return []
    const against = words.find(({ ok }) => ok === !told.ok)
    return [against ? { ...told, against: withoutBy(against) } : told]
  })
}

/** What the whole fleet decides: whoever knows that says best what mends it. */
const isOfFleet = (step: StepName): boolean => stepNames.indexOf(step) <= stepNames.indexOf('tier')

function withoutBy({ by: _, ...step }: BothSeen): Step {
  return step
}

/** Up to the order of clusters both look at the same; beyond it only where they go the same way. */
function sharesStep(step: StepName, centre: Explanation, relay: Explanation): boolean {
  if (isOwn(relay)) return false
  if (isOfFleet(step) || step === 'proxy') return true
  return centre.via.length === 0 || relay.via.length === 0 || centre.via.join() === relay.via.join()
}

/** It was followed past who may call, and no policy could govern it: a Service of the caller's own cluster. */
const isOwn = ({ steps }: Explanation): boolean =>
  steps.some(({ step, ok }) => step === 'consumer' && ok === true) && !steps.some(({ step }) => step === 'policy')
