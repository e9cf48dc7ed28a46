/** Kubernetes takes 32,768 characters in a message; nobody reads as many. */
const messageMax = 1024

/** The text, cut to what a condition or an Event shows. */
export const cutText = (text: string, max = messageMax): string =>
  text.length <= max ? text : `${text.slice(0, max - 1)}…`
