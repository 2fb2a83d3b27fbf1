package mqtt

import (
	"strconv"

	"logscan/internal/channel"
)

// entity is how Home Assistant learns of something: it subscribes to
// PREFIX/COMPONENT/NODE/OBJECT/config, and forgets what is empty there
// (https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery).
type entity struct {
	Mark       string   `json:"mark,omitempty"`
	UniqueID   string   `json:"unique_id"`
	Name       string   `json:"name"`
	StateTopic string   `json:"state_topic"`
	EventTypes []string `json:"event_types,omitempty"`
	Class      string   `json:"device_class,omitempty"`
	Value      string   `json:"value_template,omitempty"`
	About      string   `json:"json_attributes_topic,omitempty"`
	Device     device   `json:"device"`
	Origin     origin   `json:"origin"`
}

type device struct {
	IDs  []string `json:"identifiers"`
	Name string   `json:"name"`
}

type origin struct {
	Name string `json:"name"`
}

func (m *MQTT) discovered(mark, component, object string, e entity) []publication {
	e.Mark = mark // Home Assistant leaves out what it doesn't know
	e.UniqueID = m.device + "_" + object
	e.Device, e.Origin = device{[]string{m.device}, m.prefix}, origin{"logscan"}
	return []publication{{m.configTopic(component, object), true, encode(e)}}
}

func (m *MQTT) configTopic(component, object string) string {
	return m.discovery + "/" + component + "/" + m.device + "/" + object + "/config"
}

// discoverNotices makes all notices one event entity
// (https://www.home-assistant.io/integrations/event.mqtt/).
func (m *MQTT) discoverNotices(mark string) []publication {
	if m.discovery == "" {
		return nil
	}
	return m.discovered(mark, "event", "notices", entity{
		Name: "Notices", StateTopic: m.prefix + "/notices",
		EventTypes: []string{channel.Hit, channel.Opened, channel.Escalated, channel.Repeated, channel.Acknowledged, channel.Resolved, channel.System, channel.Digest},
	})
}

// discoverIncident makes an open incident a problem
// (https://www.home-assistant.io/integrations/binary_sensor.mqtt/).
func (m *MQTT) discoverIncident(mark, topic string, n channel.Notice) []publication {
	if m.discovery == "" {
		return nil
	}
	one := channel.Message{Notices: []channel.Notice{{Kind: channel.Opened, Severity: n.Severity, Rule: n.Rule, Workload: n.Workload, Container: n.Container, Containers: n.Containers, Host: n.Host}}}
	return m.discovered(mark, "binary_sensor", object(n), entity{
		Name: one.Heading(), StateTopic: topic, Class: "problem", About: topic,
		Value: "{{ 'OFF' if value_json.state == 'resolved' else 'ON' }}",
	})
}

func (m *MQTT) forgetIncident(n channel.Notice) []publication {
	if m.discovery == "" {
		return nil
	}
	return []publication{{m.configTopic("binary_sensor", object(n)), true, nil}}
}

func object(n channel.Notice) string { return "incident_" + strconv.FormatInt(n.Incident, 10) }
