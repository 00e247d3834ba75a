/** In base64url: 132 bits. */
const digestLength = 22

/** 22 characters that a text decides and that stand in any name: a key of Redis, a header, a file. SHA-256, cut. */
export const shortDigest = (text: string): string => new Bun.CryptoHasher('sha256').update(text).digest('base64url').slice(0, digestLength)
