import type { IncomingHttpHeaders } from 'node:http'
import { type Answer, call, type PodFacts, type Refusal, type Served, servedBy } from './call.ts'

/** The Bookinfo services with the fields that its users know, and `served`: who answered. */
export type Details = {
  readonly id: number
  readonly author: string
  readonly year: number
  /** Of five, over all reviewers; absent where ratings did not answer: a book can be sold without. */
  readonly stars?: number
  readonly served: Served
  readonly ratings?: Heard
}
/** What a service heard of ratings. */
export type Heard = { readonly served?: Served; readonly ms: number } & Partial<Refusal>
export type Ratings = {
  readonly id: number
  readonly ratings: Readonly<Record<string, number>>
  readonly served: Served
}
export type Review = {
  readonly reviewer: string
  readonly text: string
  readonly rating?: { readonly stars: number; readonly color: string } | { readonly error: string }
}
export type Reviews = {
  readonly id: string
  readonly podname: string
  readonly clustername: string
  readonly reviews: readonly Review[]
  readonly served: Served
  /** What reviews heard of ratings; absent in v1, which does not ask. */
  readonly ratings?: Heard
}

export async function details(facts: PodFacts, id: number, headers: IncomingHttpHeaders): Promise<Details> {
  const answer = await call<Ratings>(facts, 'ratings', `/ratings/${id}`, headers)
  const book = {
    id,
    author: 'William Shakespeare',
    year: 1595,
    type: 'paperback',
    pages: 200,
    publisher: 'PublisherA',
    language: 'English',
    'ISBN-10': '1234567890',
    'ISBN-13': '123-1234567890',
  }
  const stars = 'body' in answer ? { stars: meanOf(Object.values(answer.body.ratings)) } : {}
  return { ...book, ...stars, served: servedBy(facts, headers), ratings: heard(answer) }
}

const meanOf = (numbers: readonly number[]): number =>
  Math.round((10 * numbers.reduce((sum, one) => sum + one, 0)) / Math.max(1, numbers.length)) / 10

export const ratings = (facts: PodFacts, id: number, headers: IncomingHttpHeaders): Ratings => ({
  id,
  ratings: { Reviewer1: 5, Reviewer2: 4 },
  served: servedBy(facts, headers),
})

/** v1 shows no stars, v2 black ones, v3 red ones. */
export async function reviews(facts: PodFacts, id: number, headers: IncomingHttpHeaders): Promise<Reviews> {
  const asks = facts.version !== 'v1'
  const answer = asks ? await call<Ratings>(facts, 'ratings', `/ratings/${id}`, headers) : undefined
  const rating = (reviewer: string): Pick<Review, 'rating'> => {
    if (!answer) return {}
    const stars = 'body' in answer ? answer.body.ratings[reviewer] : undefined
    if (stars === undefined) return { rating: { error: 'Ratings service is currently unavailable' } }
    return { rating: { stars, color: facts.version === 'v2' ? 'black' : 'red' } }
  }
  return {
    id: String(id),
    podname: facts.pod,
    clustername: facts.cluster,
    reviews: [
      {
        reviewer: 'Reviewer1',
        text: 'An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!',
        ...rating('Reviewer1'),
      },
      {
        reviewer: 'Reviewer2',
        text: 'Absolutely fun and entertaining. The play lacks thematic depth when compared to other plays by Shakespeare.',
        ...rating('Reviewer2'),
      },
    ],
    served: servedBy(facts, headers),
    ...(answer ? { ratings: heard(answer) } : {}),
  }
}

const heard = (answer: Answer<Ratings>): Heard =>
  'body' in answer ? { served: answer.body.served, ms: answer.ms } : answer

/** One page view: what productpage heard of the services behind it. */
export type PageView = {
  readonly served: Served
  readonly details: Answer<Details>
  readonly reviews: Answer<Reviews>
}

export async function pageView(facts: PodFacts, id: number, headers: IncomingHttpHeaders): Promise<PageView> {
  const [detail, review] = await Promise.all([
    call<Details>(facts, 'details', `/details/${id}`, headers),
    call<Reviews>(facts, 'reviews', `/reviews/${id}`, headers),
  ])
  return { served: servedBy(facts, headers), details: detail, reviews: review }
}
