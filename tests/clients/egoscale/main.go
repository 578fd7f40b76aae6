// A user of the public Go SDK: every AI Model call against the depot whose address is the first word, as JSON on standard output.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"

	v3 "github.com/exoscale/egoscale/v3"
	"github.com/exoscale/egoscale/v3/credentials"
)

func main() {
	log.SetFlags(log.Lshortfile)
	ctx := context.Background()
	address, name := os.Args[1], os.Args[2]
	key, secret := os.Getenv("EXOSCALE_API_KEY"), os.Getenv("EXOSCALE_API_SECRET")
	client := connect(key, secret, address)

	// The command line and the SDK find an endpoint by its zone's name.
	zones, err := client.ListZones(ctx)
	check(err)
	endpoint, err := client.GetZoneAPIEndpoint(ctx, zones.Zones[0].Name)
	check(err)
	client = client.WithEndpoint(endpoint)

	failing, err := client.CreateModel(ctx, v3.CreateModelRequest{Name: "nobody/nothing"})
	check(err)
	created, err := client.CreateModel(ctx, v3.CreateModelRequest{Name: name})
	check(err)
	_, err = client.Wait(ctx, created, v3.OperationStateSuccess)
	check(err)
	_, failure := client.Wait(ctx, failing, v3.OperationStateSuccess)
	id := created.Reference.ID
	model, err := client.GetModel(ctx, id)
	check(err)
	listed, err := client.ListModels(ctx)
	check(err)
	found, err := listed.FindListModelsResponseEntry(name)
	check(err)

	deployed, err := client.CreateDeployment(ctx, v3.CreateDeploymentRequest{
		Name: "chat", Model: &v3.ModelRef{ID: id}, GpuType: "gpua5000", GpuCount: 1, Replicas: 1,
	})
	check(err)
	_, err = client.Wait(ctx, deployed, v3.OperationStateSuccess)
	check(err)
	deployment, err := client.GetDeployment(ctx, deployed.Reference.ID)
	check(err)
	deployments, err := client.ListDeployments(ctx)
	check(err)
	_, inUse := client.DeleteModel(ctx, id)
	_, err = client.DeleteDeployment(ctx, deployed.Reference.ID)
	check(err)
	deleted, err := client.DeleteModel(ctx, id)
	check(err)
	_, err = client.Wait(ctx, deleted, v3.OperationStateSuccess)
	check(err)
	_, gone := client.GetModel(ctx, id)
	_, wrong := connect(key, "a-wrong-secret-of-23", string(endpoint)).ListModels(ctx)

	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"endpoint":    endpoint,
		"failure":     fmt.Sprint(failure),
		"model":       model,
		"listed":      found,
		"deployment":  deployment,
		"deployments": len(deployments.Deployments),
		"in-use":      []any{errors.Is(inUse, v3.ErrPreconditionFailed), fmt.Sprint(inUse)},
		"gone":        []any{errors.Is(gone, v3.ErrNotFound), fmt.Sprint(gone)},
		"wrong":       []any{errors.Is(wrong, v3.ErrForbidden), fmt.Sprint(wrong)},
	}))
}

func connect(key, secret, endpoint string) *v3.Client {
	client, err := v3.NewClient(credentials.NewStaticCredentials(key, secret), v3.ClientOptWithEndpoint(v3.Endpoint(endpoint)))
	check(err)
	return client
}

func check(err error) {
	if err != nil {
		log.Output(2, err.Error())
		os.Exit(1)
	}
}
