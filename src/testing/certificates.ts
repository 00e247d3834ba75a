import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Certificates for tests, made by openssl when they are needed: an authority, and what it has signed. */
export interface Authority {
  /** Where the file of its certificate is. */
  ca: string
  /** @param alternatives as openssl has them: `DNS:localhost,IP:127.0.0.1`; none when empty */
  issue(name: string, alternatives: string, commonName?: string): { cert: string; key: string }
}

export function authorityIn(folder: string, name = 'ca'): Authority {
  const ca = join(folder, `${name}.pem`)
  const caKey = join(folder, `${name}.key`)
  openssl(['req', '-x509', ...newKey, '-keyout', caKey, '-out', ca, '-days', '2', '-subj', `/CN=${name}`])
  return {
    ca,
    issue(issued, alternatives, commonName = issued) {
      const [cert, key, request, extensions] = ['pem', 'key', 'csr', 'ext'].map(kind => join(folder, `${issued}.${kind}`)) as Files
      openssl(['req', ...newKey, '-keyout', key, '-out', request, '-subj', `/CN=${commonName}`])
      writeFileSync(extensions, alternatives === '' ? 'basicConstraints=CA:FALSE' : `subjectAltName=${alternatives}`)
      const signing = ['-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-days', '2', '-extfile', extensions]
      openssl(['x509', '-req', '-in', request, '-out', cert, ...signing])
      return { cert, key }
    },
  }
}

type Files = [string, string, string, string]
const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

function openssl(args: readonly string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(['openssl', ...args], { stdout: 'ignore', stderr: 'pipe' })
  if (exitCode !== 0) throw new Error(`openssl ${args[0]} failed: ${stderr}`)
}
