/** Codes of authenticator apps, which show another one every 30 seconds: TOTP (RFC 6238), six digits by HMAC-SHA1, which all apps know. */
export interface Totp {
  /** @returns 20 random bytes (RFC 4226 §4 R6) in base32, for the app and for us */
  newSeed(): Promise<string>
  /**
   * The link that an app reads, mostly as a QR code.
   * @param account whose it is, among those that the app has of the issuer
   */
  linkOf(seed: string, of: { issuer: string; account: string }): Promise<string>
  /**
   * Which step a code is of: the 30 seconds that it is now, or those before or after them, since clocks differ and people take their time.
   * A code of a step that was used, or of one before, must not be taken again (RFC 6238 §5.2), which is for the caller to see to.
   * @returns undefined for a code that is wrong
   */
  stepOf(seed: string, code: string, nowMs: number): Promise<number | undefined>
}
