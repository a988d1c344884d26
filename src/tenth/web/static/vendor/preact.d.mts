// The part of preact's interface that tenth uses.
export class Component<P = any, S = any> {
  constructor(props: P);
  props: Readonly<P>;
  state: Readonly<S>;
  setState(change: Partial<S>, then?: () => void): void;
  render(): unknown;
}
export function h(kind: unknown, facts?: Record<string, any> | null, ...children: unknown[]): unknown;
export function render(what: unknown, into: Element): void;
