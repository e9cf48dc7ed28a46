import { expect, test } from 'vitest'
import { imageOf } from './image.ts'

test.each([
  ['bookinfo-reviews:v3', { app: 'reviews', version: 'v3' }],
  ['echo:v2', { app: 'echo', version: 'v2' }],
  ['docker.io/istio/examples-bookinfo-reviews-v2:1.20.3', { app: 'reviews', version: 'v2' }],
  ['registry.local:5000/bookinfo-details@sha256:00', { app: 'details', version: 'v1' }],
  ['nginx:1.27', undefined],
  ['bookinfo-reviews-extra:v1', undefined],
  ['', undefined],
])('%s', (image, known) => {
  expect(imageOf(image)).toEqual(known)
})
