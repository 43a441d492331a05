// A trivial external processor in Go: the yardstick of the benchmarks.
//
// It does what every ext_proc server must and nothing more: no policy, no metrics, no limits. In answer to the request's
// headers it sets two headers and clears the route cache, and names the policy in the dynamic metadata, without which no
// route follows the headers; where the path says that the body names the model, it waits for the body and reads `model`
// from it, as our processor does. With -metadata it also sends what ours does for other filters and for logs, always the
// same: so much for Envoy to take in.
package main

import (
	"encoding/json"
	"flag"
	"log"
	"net"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/structpb"
)

type server struct {
	extproc.UnimplementedExternalProcessorServer
}

func set(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{
		Header:       &core.HeaderValue{Key: name, RawValue: []byte(value)},
		AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

func mutation(model string) *extproc.CommonResponse {
	return &extproc.CommonResponse{
		HeaderMutation: &extproc.HeaderMutation{
			SetHeaders: []*core.HeaderValueOption{set("x-model-name", model), set("x-model-version", "v1")},
		},
		ClearRouteCache: true,
	}
}

var metadata *structpb.Struct

func headersReply(common *extproc.CommonResponse) *extproc.ProcessingResponse {
	return &extproc.ProcessingResponse{
		Response:        &extproc.ProcessingResponse_RequestHeaders{RequestHeaders: &extproc.HeadersResponse{Response: common}},
		DynamicMetadata: metadata,
	}
}

func pathModel(headers *extproc.HttpHeaders) string {
	for _, header := range headers.GetHeaders().GetHeaders() {
		if header.GetKey() == ":path" {
			parts := strings.Split(string(header.GetRawValue()), "/")
			if len(parts) == 5 && parts[1] == "v2" {
				return parts[3]
			}
			return ""
		}
	}
	return ""
}

func (*server) Process(stream extproc.ExternalProcessor_ProcessServer) error {
	var body []byte
	buffered := false
	for {
		request, err := stream.Recv()
		if err != nil {
			return nil
		}
		switch message := request.Request.(type) {
		case *extproc.ProcessingRequest_RequestHeaders:
			if model := pathModel(message.RequestHeaders); model != "" || message.RequestHeaders.GetEndOfStream() {
				return stream.Send(headersReply(mutation(model)))
			}
			buffered = request.GetProtocolConfig().GetRequestBodyMode() == filter.ProcessingMode_BUFFERED
			if buffered {
				if err := stream.Send(headersReply(&extproc.CommonResponse{})); err != nil {
					return err
				}
			}
		case *extproc.ProcessingRequest_RequestBody:
			body = append(body, message.RequestBody.GetBody()...)
			if !message.RequestBody.GetEndOfStream() && !buffered {
				continue
			}
			var fields struct {
				Model string `json:"model"`
			}
			_ = json.Unmarshal(body, &fields)
			reply := headersReply(mutation(fields.Model))
			if buffered {
				reply = &extproc.ProcessingResponse{Response: &extproc.ProcessingResponse_RequestBody{
					RequestBody: &extproc.BodyResponse{Response: mutation(fields.Model)}}, DynamicMetadata: metadata}
			}
			return stream.Send(reply)
		default:
			return nil
		}
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:50051", "host:port, or a path for a unix socket")
	decided := flag.Bool("metadata", false, "send all of the dynamic metadata that our processor sends")
	flag.Parse()
	fields := map[string]any{"policy": "bench"}
	if *decided {
		fields = map[string]any{
			"api": "openai", "operation": "chat.completions", "model": "llama-3-8b", "policy": "bench",
			"cohort": "sticky", "version": "v1",
		}
	}
	var err error
	if metadata, err = structpb.NewStruct(map[string]any{"aimesh": fields}); err != nil {
		log.Fatal(err)
	}
	network := "tcp"
	if strings.HasPrefix(*listen, "/") {
		network = "unix"
	}
	listener, err := net.Listen(network, *listen)
	if err != nil {
		log.Fatal(err)
	}
	serving := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	extproc.RegisterExternalProcessorServer(serving, &server{})
	state := health.NewServer()
	state.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(serving, state)
	log.Fatal(serving.Serve(listener))
}
