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

	// The command line and the SDK find an endpoint by its zone's name, which is this one unless exo is told another.
	endpoint, err := client.GetZoneAPIEndpoint(ctx, "ch-dk-2")
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
	updated, err := client.UpdateDeployment(ctx, deployed.Reference.ID, v3.UpdateDeploymentRequest{
		Name: "talk", InferenceEngineParameters: []string{"--a=1"},
	})
	check(err)
	_, err = client.Wait(ctx, updated, v3.OperationStateSuccess)
	check(err)
	_, err = client.ScaleDeployment(ctx, deployed.Reference.ID, v3.ScaleDeploymentRequest{Replicas: 2})
	check(err)
	deployment, err := client.GetDeployment(ctx, deployed.Reference.ID)
	check(err)
	deployments, err := client.ListDeployments(ctx)
	check(err)
	public, err := client.ListDeployments(ctx, v3.ListDeploymentsWithVisibility("public"))
	check(err)
	logs, err := client.GetDeploymentLogs(ctx, deployed.Reference.ID, v3.GetDeploymentLogsWithTail(10))
	check(err)
	_, noKey := client.RevealDeploymentAPIKey(ctx, deployed.Reference.ID)
	_, taken := client.CreateDeployment(ctx, v3.CreateDeploymentRequest{
		Name: "talk", Model: &v3.ModelRef{ID: id}, GpuType: "gpua5000", GpuCount: 1, Replicas: 1,
	})
	types, err := client.ListAIInstanceTypes(ctx)
	check(err)
	help, err := client.GetInferenceEngineHelp(ctx)
	check(err)
	quota, err := client.GetUserOrgConsumptionQuota(ctx)
	check(err)
	made, err := client.CreateAIAPIKey(ctx, v3.CreateAIAPIKeyRequest{Name: "an app", Scope: "public"})
	check(err)
	shown, err := client.GetAIAPIKey(ctx, made.ID)
	check(err)
	keys, err := client.ListAIAPIKeys(ctx)
	check(err)
	_, err = client.DeleteAIAPIKey(ctx, made.ID)
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
		"nothing":     []int{len(public.Deployments), len(logs.Logs), len(types.InstanceTypes), len(help.Parameters)},
		"quota":       quota,
		"key":         []any{made.ID == shown.ID, shown.Name, len(made.Value) > 40, len(keys.AIAPIKeys)},
		"in-use":      told(inUse, v3.ErrPreconditionFailed),
		"gone":        told(gone, v3.ErrNotFound),
		"wrong":       told(wrong, v3.ErrForbidden),
		"no-key":      told(noKey, v3.ErrNotFound),
		"taken":       told(taken, v3.ErrConflict),
	}))
}

func connect(key, secret, endpoint string) *v3.Client {
	client, err := v3.NewClient(credentials.NewStaticCredentials(key, secret), v3.ClientOptWithEndpoint(v3.Endpoint(endpoint)))
	check(err)
	return client
}

// told says whether an error is of that kind, and what the server said of it.
func told(err, kind error) []any {
	var answer *v3.APIError
	if !errors.As(err, &answer) {
		return []any{false, fmt.Sprint(err)}
	}
	return []any{errors.Is(err, kind), answer.Detail}
}

func check(err error) {
	if err != nil {
		log.Output(2, err.Error())
		os.Exit(1)
	}
}
