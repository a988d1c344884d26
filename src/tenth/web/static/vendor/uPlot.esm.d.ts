// The part of uPlot's interface that tenth uses.
export default class uPlot {
  constructor(options: any, data: any, place: HTMLElement);
  setData(data: any): void;
  setSize(size: { width: number; height: number }): void;
  destroy(): void;
}
