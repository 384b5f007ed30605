// A dashboard of ours in the types of Grafana, stricter than `Dashboard` alone: there the options,
// the look and the queries of a panel are open records; here each kind of panel has its own.
import type {
  AnnotationQuery,
  Dashboard,
  FieldConfig,
  FieldConfigSource,
  GraphFieldConfig,
  Panel,
  RowPanel,
  TableFieldOptions,
  TableOptions,
} from "@grafana/schema";
import type { Options as BarGauge } from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type {
  FieldConfig as HeatmapLook,
  Options as Heatmap,
} from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type { Options as Stat } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { Options as TimeSeries } from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// JSON holds the values of enums and cannot name their members: "absolute" for
// ThresholdsMode.Absolute. So every enum of words becomes the set of its words.
type Plain<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends Array<infer Item>
      ? Array<Plain<Item>>
      : T extends object
        ? { [Key in keyof T]: Plain<T[Key]> }
        : T;

// The queries of the plugin Prometheus, which the package does not describe.
interface Target {
  datasource: { type: "prometheus"; uid: "${datasource}" };
  editorMode: "code";
  expr: string;
  format: "time_series" | "table" | "heatmap";
  instant: boolean;
  legendFormat: string;
  range: boolean;
  refId: string;
}
interface Asked {
  expr: string;
  step: string;
  tagKeys: string;
  titleFormat: string;
}
// The annotations that Grafana itself keeps, asked for by their tags.
interface Tagged {
  target: { limit: number; matchAny: boolean; tags: string[]; type: "tags" };
}

type Of<Kind, Options, Look> = Omit<Panel, "type" | "options" | "fieldConfig" | "targets"> & {
  type: Kind;
  options: Options;
  fieldConfig: Omit<FieldConfigSource, "defaults"> & {
    defaults: Omit<FieldConfig, "custom"> & { custom: Look };
  };
  targets: Target[];
};
type None = Record<string, never>;
type AnyPanel =
  | RowPanel
  | Of<"timeseries", TimeSeries, GraphFieldConfig>
  | Of<"stat", Stat, None>
  | Of<"bargauge", BarGauge, None>
  | Of<"table", TableOptions, TableFieldOptions>
  | Of<"heatmap", Heatmap, HeatmapLook>;

export type Strict = Plain<
  Omit<Dashboard, "panels" | "annotations"> & {
    panels: AnyPanel[];
    annotations: { list: Array<Omit<AnnotationQuery, "target"> & (Asked | Tagged)> };
  }
>;
